"""Means with confidence intervals, and paired differences. Does not import torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from afield.records import Estimate


def estimate(values: Sequence[float], *, level: float = 0.95) -> Estimate:
    """Mean, sample standard deviation and Student-t confidence interval of values, such as one accuracy per seed.

    >>> estimate([1.0, 2.0, 3.0]).ci95  # 2 -+ 4.303 * 1 / sqrt(3)
    (-0.484..., 4.484...)
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        raise ValueError("no values to estimate from")
    mean = float(array.mean())
    if len(array) == 1:
        return Estimate(mean, None, 1, None)
    sd = float(array.std(ddof=1))
    half = float(stats.t.ppf(0.5 + level / 2, len(array) - 1)) * sd / math.sqrt(len(array))
    return Estimate(mean, sd, len(array), (mean - half, mean + half))


def paired_difference(first: Sequence[float], second: Sequence[float], *, level: float = 0.95) -> Estimate:
    """The mean of ``first - second`` over pairs. Values at the same index must have the same seed."""
    return estimate([a - b for a, b in zip(first, second, strict=True)], level=level)
