"""Means, deviations and intervals against tabulated values of Student's t."""

import math

import pytest
from hypothesis import given, settings, strategies as st

from afield.evaluation import estimate, labels_to_halve, paired_difference, wilson

T_975 = {2: 4.302653, 4: 2.776445, 9: 2.262157}
"""Quantiles from a printed table, by degrees of freedom."""

numbers = st.floats(-100, 100, allow_nan=False)


@pytest.mark.parametrize(
    ("values", "mean", "sd"),
    [
        ([1.0, 2.0, 3.0], 2.0, 1.0),
        ([80.0, 82.0, 81.0, 79.0, 83.0], 81.0, math.sqrt(2.5)),
        ([float(i) for i in range(10)], 4.5, math.sqrt(82.5 / 9)),
    ],
)
def test_mean_sample_deviation_and_t_interval_of_known_values(values, mean, sd):
    found = estimate(values)
    half = T_975[len(values) - 1] * sd / math.sqrt(len(values))
    assert (found.mean, found.sd, found.n) == (pytest.approx(mean), pytest.approx(sd), len(values))
    assert found.ci95 == (pytest.approx(mean - half, rel=1e-5), pytest.approx(mean + half, rel=1e-5))


def test_another_level_uses_another_quantile():
    low, high = estimate([1.0, 2.0, 3.0], level=0.99).ci95
    assert (high - low) / 2 == pytest.approx(9.924843 / math.sqrt(3), rel=1e-6)


def test_one_value_has_a_mean_but_no_deviation_and_no_interval():
    assert estimate([0.25]).as_dict() == {"mean": 0.25, "sd": None, "n": 1, "ci95": None}


def test_two_values_have_a_mean_and_a_deviation_but_no_interval():
    assert estimate([0.0, 1.0]).as_dict() == {"mean": 0.5, "sd": pytest.approx(math.sqrt(0.5)), "n": 2, "ci95": None}
    assert paired_difference([0.5, 0.75], [0.25, 0.25]).ci95 is None


def test_the_interval_is_cut_off_at_the_ends_of_the_range():
    values = [0.8, 1.0, 1.0]
    half = T_975[2] * 0.2 / 3
    assert estimate(values).ci95[1] == pytest.approx(2.8 / 3 + half, rel=1e-5)
    assert estimate(values, within=(0, 1)).ci95 == (pytest.approx(2.8 / 3 - half, rel=1e-5), 1)
    assert estimate([-v for v in values], within=(-1, 1)).ci95[0] == -1
    assert paired_difference([1.0, 0.0, 1.0], [0.0, 0.0, 0.0], highest=1).ci95[1] == 1


def test_equal_values_have_an_interval_of_no_width():
    found = estimate([0.5, 0.5, 0.5])
    assert (found.sd, found.ci95) == (0.0, (0.5, 0.5))


def test_no_values_are_an_error():
    with pytest.raises(ValueError, match="no values"):
        estimate([])


def test_the_paired_difference_takes_what_the_seeds_share_out_of_the_interval():
    first, second = [0.70, 0.80, 0.90], [0.68, 0.79, 0.87]
    found = paired_difference(first, second)
    # Differences 0.02, 0.01, 0.03: mean 0.02, deviation 0.01.
    half = T_975[2] * 0.01 / math.sqrt(3)
    assert found.mean == pytest.approx(0.02)
    assert found.ci95 == (pytest.approx(0.02 - half, rel=1e-5), pytest.approx(0.02 + half, rel=1e-5))
    assert estimate(first).sd == pytest.approx(0.1)


def test_a_paired_difference_of_unequal_numbers_is_an_error():
    with pytest.raises(ValueError, match=r"longer|shorter"):
        paired_difference([1.0, 2.0], [1.0])


@settings(deadline=None, max_examples=30)
@given(st.lists(numbers, min_size=3, max_size=8), numbers, st.floats(0.1, 10))
def test_the_interval_moves_and_stretches_with_the_values(values, shift, factor):
    found, moved = estimate(values), estimate([factor * v + shift for v in values])
    assert moved.ci95[0] == pytest.approx(factor * found.ci95[0] + shift, abs=1e-6)
    assert moved.ci95[1] == pytest.approx(factor * found.ci95[1] + shift, abs=1e-6)


@pytest.mark.parametrize(("right", "count", "level"), [(50, 100, 0.95), (7, 8, 0.9), (0, 5, 0.95)])
def test_labels_that_halve_an_interval_are_the_fewest(right, count, level):
    def width(size):
        low, high = wilson(right / count * size, size, level=level)
        return high - low

    expected = next(more for more in range(10_000) if width(count + more) <= width(count) / 2)
    assert labels_to_halve(right, count, level=level) == expected
    assert labels_to_halve(50, 100) == 312
