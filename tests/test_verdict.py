"""Verdicts on published numbers, worked out by hand."""

from __future__ import annotations

import doctest

import pytest

from afield.evaluation import Estimate, estimate
from afield.experiments.papers import verdict
from afield.experiments.papers.combined import BASE, default_recipe
from afield.experiments.papers.verdict import differences, judge_difference, judge_value


def between(low: float, high: float) -> Estimate:
    return Estimate((low + high) / 2, 0.01, 3, (low, high))


@pytest.mark.parametrize(
    ("published", "ours", "changed", "said"),
    [
        (0.8222, None, (), "not run"),
        (0.8222, None, ("epochs 12, not 30",), "not run"),
        (0.8222, between(0.81, 0.83), ("epochs 12, not 30", "frozen yes, not no"), "not comparable"),
        (0.8222, between(0.81, 0.83), (), "reproduced"),
        (0.8222, between(0.8222, 0.83), (), "reproduced"),
        (0.8222, between(0.83, 0.85), (), "not reproduced"),
        (0.8222, estimate([0.82]), (), "not comparable"),
    ],
)
def test_a_number_is_reproduced_where_it_lies_in_the_interval_and_the_set_ups_agree(published, ours, changed, said):
    found = judge_value(published, ours, changed)
    assert found.name == said
    assert found.why == ("; ".join(changed) if said == "not comparable" and changed else found.why)


def test_the_interval_of_three_seeds_decides():
    ours = estimate([0.80, 0.82, 0.84])  # 0.82 -+ 4.303 * 0.02 / sqrt(3) = 0.82 -+ 0.0497
    assert judge_value(0.869, ours, ()).name == "reproduced"
    assert judge_value(0.870, ours, ()).name == "not reproduced"


@pytest.mark.parametrize(
    ("published", "ours", "said"),
    [
        (0.016, None, "not run"),
        (0.016, estimate([0.02]), "not comparable (one seed gives no interval)"),
        (0.016, between(0.001, 0.05), "reproduced"),
        (0.016, between(-0.001, 0.05), "not reproduced (the interval holds zero)"),
        (0.016, between(-0.05, -0.01), "not reproduced (the other way round)"),
        (-0.0036, between(-0.05, -0.01), "reproduced"),
        (-0.0036, between(0.01, 0.05), "not reproduced (the other way round)"),
    ],
)
def test_a_difference_is_judged_by_its_direction(published, ours, said):
    assert str(judge_difference(published, ours)) == said


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (between(-0.01, 0.015), "reproduced (no difference)"),
        (between(-0.05, 0.05), "not comparable (too wide an interval)"),
        (between(0.01, 0.05), "not reproduced (told apart)"),
        (between(0.001, 0.015), "reproduced (no difference)"),
    ],
)
def test_a_claim_of_no_difference_needs_a_narrow_interval_about_zero(ours, said):
    assert str(judge_difference(0.0024, ours, tolerance=0.005)) == said


def test_differences_of_set_ups_are_named_in_words():
    config = {
        "backbone": {"name": "resnet8", "freeze": True},
        "training": {"epochs": 30, "learning_rate": 0.02},
        "tuning": {"epochs": 4},
    }
    protocol = {
        "backbone.name": "resnet18",
        "backbone.freeze": False,
        "training.epochs": 30,
        "training.learning_rate": 0.004,
        "tuning.epochs": 100,
    }
    assert differences(config, protocol) == [
        "backbone resnet8, not resnet18",
        "backbone freeze yes, not no",
        "learning rate 0.02, not 0.004",
        "tuning epochs 4, not 100",
    ]
    assert doctest.testmod(verdict).attempted == 1
    assert doctest.testmod(verdict).failed == 0


def test_the_default_recipe_is_the_largest_gain_that_harms_nowhere():
    gains = {
        "one": {"a": between(0.01, 0.03), "b": between(0.05, 0.09), "c": between(-0.01, 0.08), "d": between(0, 0.4)},
        "two": {"a": between(-0.01, 0.02), "b": between(-0.03, -0.01), "c": between(-0.01, 0.01)},
    }
    recipe, why = default_recipe(gains)  # b harms on two, c is told apart nowhere, d lacks a set
    assert recipe == "a"
    assert why.startswith("+1.2 points over the sets of images on average")  # (2.0 + 0.5) / 2 = 1.25
    assert "to the better on one and" in why
    gains["one"]["c"] = between(0.02, 0.08)
    assert default_recipe(gains)[0] == "c"  # (5 + 0) / 2 = 2.5 points
    assert default_recipe({"two": gains["two"]})[0] == BASE
    assert default_recipe({})[0] == BASE
