"""Confidence intervals of means and fractions, and paired differences. Does not import torch."""

import bisect
import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from afield.records import Estimate

LEAST_VALUES = 3
"""Fewer values have no interval. That of two values would be 12.7 standard errors wide to each side."""


def estimate(
    values: Sequence[float], *, level: float = 0.95, within: tuple[float, float] = (-math.inf, math.inf)
) -> Estimate:
    """Mean, sample standard deviation and Student-t confidence interval of values, such as one accuracy per seed.

    >>> estimate([1.0, 2.0, 3.0]).ci95  # 2 -+ 4.303 * 1 / sqrt(3)
    (-0.484..., 4.484...)

    Args:
        values: at least one value. Fewer than `LEAST_VALUES` values have no interval.
        level: confidence level of the interval.
        within: range of possible values. The interval is cut off at its ends.
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        raise ValueError("no values to estimate from")
    mean = float(array.mean())
    if len(array) == 1:
        return Estimate(mean, None, 1, None)
    sd = float(array.std(ddof=1))
    if len(array) < LEAST_VALUES:
        return Estimate(mean, sd, len(array), None)
    half = float(stdtrit(len(array) - 1, 0.5 + level / 2)) * sd / math.sqrt(len(array))
    lowest, highest = within
    return Estimate(mean, sd, len(array), (max(mean - half, lowest), min(mean + half, highest)))


def paired_difference(
    first: Sequence[float], second: Sequence[float], *, level: float = 0.95, highest: float = math.inf
) -> Estimate:
    """The mean of ``first - second`` over pairs. Values at the same index must have the same seed.

    `level` is that of `estimate`; `highest` is the largest possible difference.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    return estimate(differences, level=level, within=(-highest, highest))


def wilson(successes: float, count: int, *, level: float = 0.95) -> tuple[float, float]:
    """The interval of a fraction, such as an accuracy, from a random sample of `count`.

    >>> wilson(8, 10)
    (0.490..., 0.943...)

    References:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    z = float(ndtri(0.5 + level / 2))
    fraction, spread = successes / count, z**2 / count
    middle = (fraction + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(fraction * (1 - fraction) / count + spread / (4 * count))
    return middle - half, middle + half


def labels_to_halve(successes: int, count: int, *, level: float = 0.95) -> int:
    """How many more labels halve the width of the Wilson interval, if the fraction stays the same.

    >>> labels_to_halve(50, 100)
    312
    """

    def width(size: int) -> float:
        low, high = wilson(successes / count * size, size, level=level)
        return high - low

    return bisect.bisect_left(range(20 * count + 100), -width(count) / 2, key=lambda more: -width(count + more))
