"""Tests over data sets: published tables, longhand values and an enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from afield.evaluation import critical_difference, ranks, signed_rank_p

# Demšar 2006, table 6: area under the curve of four learners on 14 data sets. By the ranks of the paper, the value of
# C4.5+cf on the 13th data set is a little above that of C4.5+m+cf, to which it is equal after rounding.
LEARNERS = {
    "C4.5": [0.763, 0.599, 0.954, 0.628, 0.882, 0.936, 0.661, 0.583, 0.775, 1.0, 0.940, 0.619, 0.972, 0.957],
    "C4.5+m": [0.768, 0.591, 0.971, 0.661, 0.888, 0.931, 0.668, 0.583, 0.838, 1.0, 0.962, 0.666, 0.981, 0.978],
    "C4.5+cf": [0.771, 0.590, 0.968, 0.654, 0.886, 0.916, 0.609, 0.563, 0.866, 1.0, 0.965, 0.614, 0.97501, 0.946],
    "C4.5+m+cf": [0.798, 0.569, 0.967, 0.657, 0.898, 0.931, 0.685, 0.625, 0.875, 1.0, 0.962, 0.669, 0.975, 0.970],
}


@pytest.mark.parametrize(
    ("level", "published"),
    [
        (0.95, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
        (0.90, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
    ],
)
def test_critical_values_are_those_of_the_published_table(level, published):
    """Demšar 2006, table 5 (a), for 2 to 10 classifiers."""
    for recipes, value in enumerate(published, start=2):
        found = critical_difference(recipes, 6, level=level) / np.sqrt(recipes * (recipes + 1) / 36)
        assert found == pytest.approx(value, abs=1.1e-3)


def test_the_example_of_the_paper():
    """Section 3.2.2 gives the average ranks and a critical difference of 1.25."""
    found = ranks(LEARNERS)
    assert found.average == pytest.approx(
        {"C4.5": 3.143, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}, abs=5e-4
    )
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    assert found.count == 14


def test_friedman_by_hand():
    """Without ties: chi^2 = 12 N / (k (k + 1)) (sum R^2 - k (k + 1)^2 / 4), with k - 1 degrees of freedom."""
    values = {"a": [0.9, 0.8, 0.7, 0.9], "b": [0.8, 0.7, 0.8, 0.6], "c": [0.1, 0.2, 0.3, 0.4]}
    found = ranks(values)
    assert found.average == {"a": 1.25, "b": 1.75, "c": 3.0}
    statistic = 12 * 4 / 12 * (1.25**2 + 1.75**2 + 9 - 12)
    assert statistic == 6.5
    assert found.friedman_p == pytest.approx(np.exp(-6.5 / 2))


def test_a_lower_value_can_be_better_and_two_or_equal_recipes_need_no_friedman():
    assert ranks({"a": [0.1, 0.2], "b": [0.3, 0.1]}, sign=-1).average == {"a": 1.5, "b": 1.5}
    assert ranks({"a": [0.1, 0.2], "b": [0.3, 0.3]}, sign=-1).average == {"a": 1.0, "b": 2.0}
    assert ranks({"a": [0.1, 0.2], "b": [0.3, 0.3]}).friedman_p is None
    assert ranks({name: [0.5, 0.5] for name in "abc"}).friedman_p == 1.0


def test_the_signed_rank_test_counts_all_assignments_of_signs():
    first, second = [0.9, 0.8, 0.75, 0.7, 0.66, 0.5, 0.6], [0.5, 0.6, 0.7, 0.4, 0.7, 0.47, 0.58]
    differences = np.subtract(first, second)
    sizes = stats.rankdata(abs(differences))
    least = min(sizes[differences > 0].sum(), sizes[differences < 0].sum())
    sums = [sizes[np.array(signs)].sum() for signs in itertools.product([False, True], repeat=7)]
    assert signed_rank_p(first, second) == pytest.approx(2 * np.mean(np.array(sums) <= least))
    assert signed_rank_p(first, second, comparisons=3) == pytest.approx(6 * np.mean(np.array(sums) <= least))
    assert signed_rank_p(first, second, comparisons=1000) == 1.0
    assert signed_rank_p(first, first) == 1.0


@pytest.mark.parametrize("count", [3, 5, 6])
def test_few_data_sets_cannot_be_significant(count):
    better = [0.5 + 0.01 * i for i in range(1, count + 1)]
    p = signed_rank_p(better, [0.5 - 0.02 * i for i in range(count)])
    assert p == pytest.approx(2.0 ** (1 - count))
    assert (p < 0.05) is (count >= 6)
