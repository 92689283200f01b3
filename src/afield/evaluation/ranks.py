"""Tests of recipes over several data sets: Wilcoxon's signed ranks, Friedman, and Nemenyi. Does not import torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ranks:
    """The ranks of k recipes on N data sets.

    Attributes:
        average: average rank of each recipe; 1 is the best, and equal values share their ranks.
        count: N.
        friedman_p: p value of Friedman's test that all recipes have the same rank; None for fewer than three recipes.
        critical_difference: difference of two average ranks that is significant at 5 % by Nemenyi's test.
    """

    average: Mapping[str, float]
    count: int
    friedman_p: float | None
    critical_difference: float


def ranks(values: Mapping[str, Sequence[float]], *, sign: int = 1) -> Ranks:
    """Rank recipes by their values on N data sets.

    Args:
        values: N values by recipe, for the same data sets; at least two recipes.
        sign: 1 if a larger value is better, otherwise -1.

    References:
        Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006, sections 3.1.3 and 3.2.2.
    """
    from scipy import stats  # takes half a second

    table = np.array(list(values.values()), dtype=np.float64)
    average = stats.rankdata(-sign * table, axis=0).mean(axis=1)
    same = bool((table == table[0]).all())
    p = None if len(table) < 3 else 1.0 if same else float(stats.friedmanchisquare(*table).pvalue)
    recipes, count = table.shape
    named = {name: float(rank) for name, rank in zip(values, average, strict=True)}
    return Ranks(named, count, p, critical_difference(recipes, count))


def critical_difference(recipes: int, count: int, *, level: float = 0.95) -> float:
    """Nemenyi's critical difference of two average ranks: ``q sqrt(k (k + 1) / (6 N))``.

    ``q`` is the quantile of the studentized range of k values with infinitely many degrees of freedom, divided by
    sqrt(2).

    >>> round(critical_difference(4, 14), 2)  # Demšar 2006, section 3.2.2
    1.25

    Args:
        recipes: k, at least 2.
        count: N, number of data sets.
        level: 1 minus the probability of any wrong difference.
    """
    from scipy import stats

    quantile = float(stats.studentized_range.ppf(level, recipes, math.inf)) / math.sqrt(2)
    return quantile * math.sqrt(recipes * (recipes + 1) / (6 * count))


def signed_rank_p(first: Sequence[float], second: Sequence[float], *, comparisons: int = 1) -> float:
    """The two-sided p value of Wilcoxon's signed-rank test for values on the same data sets, times `comparisons`.

    Data sets without a difference are left out, as Wilcoxon does. With N differences, it is at least ``2^(1 - N)``, so
    that fewer than six data sets cannot give a significant difference at 5 %.

    References:
        Wilcoxon, "Individual Comparisons by Ranking Methods", Biometrics 1945.
    """
    from scipy import stats

    differences = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if not differences.any():
        return 1.0
    return min(1.0, comparisons * float(stats.wilcoxon(differences, zero_method="wilcox").pvalue))
