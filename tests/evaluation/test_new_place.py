"""Differences at a new place, where domains and seeds are random."""

import math

import numpy as np
import pytest
from scipy import stats

from afield.evaluation import difference_at_new_place, paired_difference, probability_better

FIRST = [[0.70, 0.72], [0.80, 0.84], [0.61, 0.61], [0.93, 0.91]]
SECOND = [[0.69, 0.69], [0.75, 0.81], [0.62, 0.62], [0.90, 0.90]]
MEANS = [0.02, 0.04, -0.01, 0.02]
"""Mean differences of the four domains."""


def test_the_interval_is_that_of_the_domains_means():
    found = difference_at_new_place(FIRST, SECOND)
    sd = np.std(MEANS, ddof=1)
    half = stats.t.ppf(0.975, 3) * sd / 2
    assert found.mean == pytest.approx(0.0175)
    assert found.sd == pytest.approx(sd)
    assert found.ci95 == pytest.approx((0.0175 - half, 0.0175 + half))
    assert (found.n, found.better_on) == (4, 3)
    wider = difference_at_new_place(FIRST, SECOND, level=0.99)
    assert wider.ci95[1] - wider.mean == pytest.approx(half / stats.t.ppf(0.975, 3) * stats.t.ppf(0.995, 3))


def test_seeds_explain_their_share_of_the_variance_of_the_domains():
    differences = np.array(FIRST) - np.array(SECOND)
    within = differences.var(axis=1, ddof=1).mean() / 2
    assert difference_at_new_place(FIRST, SECOND).seed_share == pytest.approx(within / np.var(MEANS, ddof=1))
    same_domains = [[0.1, 0.3], [0.3, 0.1], [0.12, 0.3]]
    assert difference_at_new_place(same_domains, [[0.0] * 2] * 3).seed_share == 1
    assert difference_at_new_place([[0.1], [0.2], [0.3]], [[0.0]] * 3).seed_share is None


def test_the_probability_is_that_of_one_more_domain():
    found = difference_at_new_place(FIRST, SECOND)
    sd = np.std(MEANS, ddof=1)
    expected = stats.t.cdf(0.0175 / (sd * math.sqrt(1.25)), 3)
    assert found.probability == pytest.approx(expected)
    assert probability_better(0.0, 1.0, 5) == 0.5


def test_with_a_lower_metric_a_negative_difference_is_better():
    found = difference_at_new_place(FIRST, SECOND, sign=-1)
    assert found.better_on == 1
    assert found.probability == pytest.approx(1 - difference_at_new_place(FIRST, SECOND).probability)


def test_few_domains_have_no_interval():
    two = difference_at_new_place(FIRST[:2], SECOND[:2])
    assert two.ci95 is None
    assert (two.n, two.better_on) == (2, 2)
    assert two.probability is not None
    one = difference_at_new_place(FIRST[:1], SECOND[:1])
    assert (one.ci95, one.probability, one.seed_share) == (None, None, None)


def test_intervals_over_domains_cover_the_mean_of_all_places_and_those_over_seeds_do_not():
    rng = np.random.default_rng(1)
    covered = {"places": 0, "seeds": 0}
    for _ in range(600):
        effects = rng.normal(0.0, 1.52, (4, 1))
        first = effects + rng.normal(0, 0.5, (4, 5))
        second = rng.normal(0, 0.5, (4, 5))
        low, high = difference_at_new_place(first, second).ci95
        covered["places"] += low < 0 < high
        low, high = paired_difference(first.mean(axis=0), second.mean(axis=0)).ci95
        covered["seeds"] += low < 0 < high
    assert 0.92 < covered["places"] / 600 < 0.98
    assert covered["seeds"] / 600 < 0.6


def test_the_interval_ends_at_the_largest_possible_difference():
    low, high = difference_at_new_place(FIRST, SECOND, highest=0.03).ci95
    assert (low, high) == (pytest.approx(-0.0156, abs=1e-3), 0.03)
    assert difference_at_new_place(FIRST, SECOND, highest=0.01).ci95 == (-0.01, 0.01)
