"""Distributions of settings: their bounds, their texts, and whole numbers."""

from __future__ import annotations

import numpy as np
import pytest

from afield.distributions import Choice, LogUniform, Scaled, Uniform, read_distribution


def many(distribution, default, count=2000):
    generator = np.random.default_rng(0)
    return [distribution.draw(generator, default) for _ in range(count)]


def test_uniform_covers_its_range_evenly():
    values = many(Uniform(2, 6), 0.5)
    assert 2 <= min(values) < 2.02
    assert 5.98 < max(values) <= 6
    assert np.mean(values) == pytest.approx(4, abs=0.1)


def test_log_uniform_has_its_median_at_the_geometric_mean():
    values = many(LogUniform(1e-4, 1), 0.5)
    assert min(values) >= 1e-4
    assert max(values) <= 1
    assert np.median(values) == pytest.approx(0.01, rel=0.3)


def test_scaled_multiplies_the_default():
    values = many(Scaled(0.25, 4), 0.02)
    assert min(values) >= 0.005
    assert max(values) <= 0.08
    assert np.median(values) == pytest.approx(0.02, rel=0.15)
    assert min(many(Scaled(0.01, 0.02), 10)) == 1  # a number of epochs or images cannot be 0


def test_choice_takes_each_value_as_often():
    values = many(Choice((1, "a")), 1)
    assert values.count("a") == pytest.approx(1000, abs=100)
    assert set(values) == {1, "a"}


def test_a_whole_default_gives_whole_numbers_and_others_have_four_digits():
    assert {type(value) for value in many(Scaled(0.5, 2), 64)} == {int}
    assert all(float(f"{value:.4g}") == value for value in many(LogUniform(1e-6, 1e-2), 5e-4))
    one = np.random.default_rng(3)
    expected = float(f"{np.exp(np.random.default_rng(3).uniform(np.log(2), np.log(9))):.4g}")
    assert LogUniform(2, 9).draw(one, 1.0) == expected


@pytest.mark.parametrize(
    "distribution", [Uniform(0, 0.5), LogUniform(1e-06, 0.01), Scaled(0.2, 6.3), Choice((0.1, 2, "auto"))], ids=str
)
def test_a_text_gives_the_distribution_back(distribution):
    assert read_distribution(str(distribution)) == distribution


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("log_uniform(0, 1)", "0 < LOW < HIGH, got 0 and 1"),
        ("uniform(2, 1)", "LOW < HIGH, got 2 and 1"),
        ("uniform(1, inf)", "LOW < HIGH"),
        ("normal(0, 1)", "must be one of uniform"),
        ("uniform(1)", "must be one of uniform"),
        ("choice()", "must be one of uniform"),
        ("3", "must be one of uniform"),
    ],
)
def test_other_texts_are_refused(text, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        read_distribution(text)
