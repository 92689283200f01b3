"""What is left to a model in the report: thresholds come from the other domains alone."""

from __future__ import annotations

import math

import numpy as np

from afield.comparison.review import COVERAGES, review


def part(*pairs: tuple[float, bool]):
    """Logits of two classes with these logit differences, of which the class 0 is predicted; and the labels."""
    differences, right = zip(*pairs, strict=True)
    return np.stack([differences, np.zeros(len(pairs))], axis=1), np.array([0 if each else 1 for each in right])


def calibrated(count: int, wrong: int, difference: float):
    return [(difference, index >= wrong) for index in range(count)]


def test_the_threshold_of_a_domain_is_the_one_that_the_other_domain_needs():
    sure, unsure = math.log(99), math.log(3)
    first = part(*calibrated(100, 1, sure), *calibrated(100, 25, unsure))
    second = part(*calibrated(50, 10, sure), *calibrated(50, 0, unsure))
    found = review({"first": first, "second": second})
    # On the first domain, only the sure images are right in 95 % of cases, at temperature 1: all of them are left.
    assert found["second"]["coverage"] == 0.5
    assert found["second"]["accuracy"] == 0.8
    assert found["second"]["risk"] == [0.2] * 10 + [0.1] * 10
    # On the second domain, 80 % of the sure images and 90 % of all are right: no image of the first is left.
    assert found["first"] == {"coverage": 0.0, "accuracy": None, "risk": [0.01] * 10 + [0.13] * 10}
    assert COVERAGES[9] == 0.5


def test_the_labels_of_a_domain_change_neither_its_coverage_nor_its_threshold():
    rng = np.random.default_rng(0)
    parts = {name: (rng.normal(0, 3, (200, 4)), rng.integers(0, 4, 200)) for name in ("a", "b", "c")}
    for name in ("a", "b"):
        logits = parts[name][0]
        parts[name] = logits, np.where(rng.random(200) < 0.97, logits.argmax(axis=1), parts[name][1])
    other = {**parts, "c": (parts["c"][0], (parts["c"][1] + 1) % 4)}
    before, after = review(parts)["c"], review(other)["c"]
    assert before["coverage"] == after["coverage"] > 0
    assert before["accuracy"] != after["accuracy"]


def test_of_many_predictions_evenly_spaced_ones_set_the_threshold():
    sure, unsure = math.log(99), math.log(3)
    whole = part(*calibrated(100, 1, sure), *calibrated(100, 25, unsure))
    tested = part(*calibrated(50, 10, sure), *calibrated(50, 0, unsure))
    rows = np.linspace(0, 199, 20).astype(int)
    expected = review({"first": (whole[0][rows], whole[1][rows]), "second": tested})["second"]
    assert review({"first": whole, "second": tested}, most=20)["second"] == expected
    assert review({"first": whole, "second": tested}, most=200) == review({"first": whole, "second": tested})
