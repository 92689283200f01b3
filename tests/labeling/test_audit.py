"""The audit sample's figures, by hand and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from afield.evaluation import labels_to_halve, wilson
from afield.labeling.audit import audit

NAMES = ("cat", "dog", "owl")


@pytest.mark.parametrize(("right", "count"), [(0, 5), (3, 7), (50, 100), (28, 28)])
def test_the_wilson_interval_is_that_of_scipy(right, count):
    expected = binomtest(right, count).proportion_ci(0.95, method="wilson")
    assert wilson(right, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_wilson_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truths = rng.uniform(0.05, 0.95, size=4000)
    inside = [low <= truth <= high for truth in truths for low, high in [wilson(rng.binomial(40, truth), 40)]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize(("right", "count"), [(50, 100), (9, 10), (0, 3)])
def test_the_labels_that_halve_the_interval_are_the_fewest_that_do(right, count):
    def width(size):
        low, high = wilson(right / count * size, size)
        return high - low

    more = labels_to_halve(right, count)
    assert width(count + more) <= width(count) / 2 < width(count + more - 1)


def test_about_four_times_the_labels_halve_the_interval():
    assert labels_to_halve(50, 100) == pytest.approx(300, rel=0.05)


def test_accuracy_balanced_accuracy_and_recall_by_hand():
    labels = np.array([0] * 6 + [1] * 2)
    predicted = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    found = audit(predicted, labels, NAMES)
    assert (found.accuracy.value, found.accuracy.n) == (6 / 8, 8)
    assert found.accuracy.ci95 == pytest.approx(wilson(6, 8))
    assert {name: (each.value, each.n) for name, each in found.recall.items()} == {"cat": (5 / 6, 6), "dog": (0.5, 2)}
    assert found.recall["dog"].ci95 == pytest.approx(wilson(1, 2))
    assert found.balanced_accuracy.value == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert found.to_halve == labels_to_halve(6, 8)


def test_the_bootstrap_interval_of_the_balanced_accuracy_is_near_the_normal_one():
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 200)
    predicted = np.where(rng.random(400) < 0.7, labels, 2)
    found = audit(predicted, labels, NAMES).balanced_accuracy
    half = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert found.ci95 == pytest.approx((found.value - half, found.value + half), abs=0.01)
