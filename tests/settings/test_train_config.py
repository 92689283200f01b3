"""Schedules of the learning rate."""

from __future__ import annotations

import numpy as np
import pytest

from afield.training import TrainConfig


def test_the_linear_schedule_rises_to_the_peak_and_falls_to_nothing():
    training = TrainConfig(learning_rate=1.0, schedule="linear", warmup=0.2)
    rates = [training.learning_rate_at(step, 10) for step in range(10)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 50, 0.1),
        ("step", 79, 0.1),
        ("step", 80, 0.01),
        ("cosine", 0, 0.1),
        ("cosine", 50, 0.05),
        ("cosine", 99, 0.1 * 0.5 * (1 + np.cos(np.pi * 0.99))),
    ],
)
def test_the_schedule_by_hand(schedule, step, expected):
    training = TrainConfig(learning_rate=0.1, schedule=schedule)
    assert training.learning_rate_at(step, 100) == pytest.approx(expected)


def test_warm_up_rises_linearly_to_the_peak():
    training = TrainConfig(learning_rate=0.1, warmup=0.1)
    rates = [training.learning_rate_at(step, 100) for step in range(11)]
    assert rates[:3] == pytest.approx([0.1 / 11, 0.2 / 11, 0.3 / 11])
    assert rates[10] == pytest.approx(0.1)
