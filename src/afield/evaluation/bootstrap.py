"""Intervals of metrics of one evaluation, from resampled images or groups of images."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from afield.evaluation.statistics import LEAST_VALUES

RESAMPLES = 1000
CHUNK = 2**22
"""Largest number of weights in memory at the same time."""

Measure = Callable[[NDArray], Mapping[str, NDArray]]


def bootstrap(measure: Measure, groups: NDArray, *, level: float = 0.95) -> dict[str, tuple[float, float]]:
    """Percentile intervals of several metrics, from `RESAMPLES` resamples of groups with replacement.

    All images of a group are drawn together, because they are not independent (a burst of a camera, a patient). The
    ends are values of the metric, so they are within its range. Resamples without a value (NaN) are left out. An
    interval of width 0, such as that of a perfect accuracy, only says that all resamples have the same value.

    Args:
        measure: maps the number of times that each image is drawn, ``[B, N]``, to values ``[B]`` by metric.
        groups: group of each image, ``[N]``. For independent images, each image is a group of its own.
        level: fraction of the resamples in the interval.

    Returns:
        Lower and upper end by metric. Empty if there are fewer than `LEAST_VALUES` groups.

    References:
        Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, sections 8.3 and 13.3.
    """
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < LEAST_VALUES:
        return {}
    rng, found = np.random.default_rng(0), dict[str, list[NDArray]]()
    at_once = max(1, CHUNK // len(group))
    for start in range(0, RESAMPLES, at_once):
        draws = rng.integers(len(names), size=(min(at_once, RESAMPLES - start), len(names)))
        counts = np.stack([np.bincount(draw, minlength=len(names)) for draw in draws])
        for name, values in measure(counts[:, group]).items():
            found.setdefault(name, []).append(values)
    ends = (0.5 - level / 2, 0.5 + level / 2)
    intervals = {name: np.nanquantile(np.concatenate(values), ends) for name, values in found.items()}
    return {name: (float(low), float(high)) for name, (low, high) in intervals.items()}
