"""Differences between recipes at a new place, where domains and seeds are both random. Does not import torch."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr

from afield.evaluation.statistics import estimate
from afield.records import PlaceDifference


def difference_at_new_place(
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    *,
    level: float = 0.95,
    highest: float = math.inf,
    sign: int = 1,
) -> PlaceDifference:
    """The difference of two recipes at a new place, from their values on several domains.

    The domains are a sample of the places where the model may be used. Their mean differences vary because the recipe
    suits some domains better and because of the seeds. Student's t interval of the domains' means, with one degree of
    freedom less than there are domains, covers both; for equal numbers of seeds it is the exact interval of the mixed
    model with random domains and seeds.

    Args:
        first: values of a recipe, ``[E][S]``: a value for each domain and seed.
        second: those of the other recipe, for the same domains and seeds.
        level: level of the interval.
        highest: largest possible difference.
        sign: 1 if a larger value is better, otherwise -1.

    References:
        Searle, Casella and McCulloch, "Variance Components", 1992, chapter 4 (balanced data).
    """
    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    means = differences.mean(axis=1)
    whole = estimate(means.tolist(), level=level, within=(-highest, highest))
    return PlaceDifference(
        mean=whole.mean,
        sd=whole.sd,
        n=whole.n,
        ci95=whole.ci95,
        better_on=int((sign * means > 0).sum()),
        probability=None if not whole.sd else probability_better(sign * whole.mean, whole.sd, whole.n),
        seed_share=None if not whole.sd else _seed_share(differences, whole.sd),
    )


def probability_better(mean: float, sd: float, domains: int) -> float:
    """The probability that the difference is positive in one more domain.

    It is Student's t prediction for one more value of a sample with this mean and standard deviation.

    >>> probability_better(2.0, 1.0, 4)
    0.914...
    """
    return float(stdtr(domains - 1, mean / (sd * math.sqrt(1 + 1 / domains))))


def _seed_share(differences: np.ndarray, sd: float) -> float | None:
    """The share of the variance of the domains' means that comes from the seeds, at most 1; None for one seed."""
    seeds = differences.shape[1]
    if seeds == 1:
        return None
    return min(1.0, float(differences.var(axis=1, ddof=1).mean()) / seeds / sd**2)
