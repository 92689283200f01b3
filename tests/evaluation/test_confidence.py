"""Temperature, thresholds and risk by coverage, against values worked out by hand and against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from afield.evaluation import expected_calibration_error, negative_log_likelihood
from afield.evaluation.confidence import TEMPERATURES, Scored, fit_temperature, threshold_for


def drawn(seed: int, count: int = 4000, classes: int = 5, scale: float = 2.0):
    """Logits whose softmax probabilities are true: labels are drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (count, classes))
    return logits, (softmax(logits, axis=1).cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)


def scored(*pairs: tuple[float, bool]) -> Scored:
    confidence, right = zip(*pairs, strict=True)
    return Scored(np.array(confidence, np.float32), np.array(right, bool))


def test_the_temperature_undoes_a_factor_of_true_logits():
    logits, labels = drawn(0)
    assert fit_temperature([(logits, labels)]) == pytest.approx(1, abs=0.05)
    once = fit_temperature([(logits, labels)])
    assert fit_temperature([(3 * logits, labels)]) == pytest.approx(3 * once, rel=1e-3)
    assert expected_calibration_error(3 * logits, labels) > 0.15
    assert expected_calibration_error(3 * logits / (3 * once), labels) < 0.02


def test_the_loss_is_stationary_at_the_temperature_and_each_part_has_the_same_weight():
    small, large = drawn(1, count=100), drawn(2, count=5000)
    parts = [(4 * small[0], small[1]), (0.5 * large[0], large[1])]
    temperature = fit_temperature(parts)

    def slope(logits, labels):
        """The derivative of the mean cross-entropy by 1 / T: the expected logit minus the logit of the target."""
        probabilities = softmax(logits / temperature, axis=1)
        return float(((probabilities * logits).sum(axis=1) - logits[np.arange(len(labels)), labels]).mean())

    assert slope(*parts[0]) + slope(*parts[1]) == pytest.approx(0, abs=1e-3)
    assert abs(slope(*parts[0])) > 0.05


@pytest.mark.parametrize("classes", [2, 7, 100])
def test_the_temperature_is_that_of_the_plain_loss_to_the_last_bit(classes):
    rng = np.random.default_rng(classes)
    parts = [
        (rng.normal(0, 3, (count, classes)).astype(np.float32), rng.integers(classes, size=count)) for count in (50, 90)
    ]
    parts = [(logits + 4 * np.eye(classes, dtype=np.float32)[labels], labels) for logits, labels in parts]

    def loss(log_temperature):
        each = [negative_log_likelihood(logits / math.exp(log_temperature), labels) for logits, labels in parts]
        return sum(each) / len(each)

    plain = minimize_scalar(loss, bounds=[*map(math.log, TEMPERATURES)], method="bounded", options={"xatol": 1e-4})
    assert fit_temperature(parts) == math.exp(plain.x)
    assert TEMPERATURES[0] * 2 < math.exp(plain.x) < TEMPERATURES[1] / 2


def test_the_temperature_stays_in_its_range():
    sure = np.array([[0.5, 0.0], [0.0, 0.5]])
    assert fit_temperature([(sure, np.array([0, 1]))]) == pytest.approx(TEMPERATURES[0], rel=0.01)
    assert fit_temperature([(sure, np.array([1, 0]))]) == pytest.approx(TEMPERATURES[1], rel=0.01)


def test_scores_are_those_of_the_softmax_at_a_temperature():
    logits, labels = np.array([[math.log(3), 0.0], [0.0, math.log(9)]]), np.array([0, 0])
    assert Scored.of(logits, labels).confidence == pytest.approx([0.75, 0.9])
    assert Scored.of(logits, labels, 2.0).confidence == pytest.approx([math.sqrt(3) / (1 + math.sqrt(3)), 0.75])
    assert Scored.of(logits, labels).right.tolist() == [True, False]


def test_risk_by_coverage_by_hand():
    found = scored((0.9, True), (0.8, True), (0.8, False), (0.5, False), (0.6, True))
    coverage, risk = found.risk_coverage()
    assert coverage == pytest.approx([0.2, 0.6, 0.8, 1.0])
    assert risk == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])
    assert found.risk_at([0.1, 0.2, 0.3, 1.0]) == pytest.approx([0, 0, 1 / 3, 2 / 5])


def test_the_threshold_is_the_smallest_that_holds_on_each_part():
    easy = scored((0.9, True), (0.7, True), (0.6, True), (0.5, False))
    hard = scored((0.95, True), (0.8, False), (0.75, True), (0.65, True))
    assert threshold_for(0.75, [easy]) == 0.5
    assert threshold_for(0.75, [hard]) == pytest.approx(0.65)
    assert threshold_for(0.9, [easy]) == pytest.approx(0.6)
    assert threshold_for(0.9, [easy, hard]) == pytest.approx(0.9)
    assert hard.accepted(0.9) == (0.25, 1.0)
    assert hard.accepted(0.99) == (0.0, None)


def test_no_threshold_reaches_an_accuracy_that_the_surest_predictions_miss():
    assert threshold_for(0.95, [scored((0.9, False), (0.5, True))]) == math.inf


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=12), min_size=1, max_size=3
    ),
    st.sampled_from([0.5, 0.75, 0.9, 1.0]),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_the_threshold_agrees_with_brute_force(parts, target):
    found = [scored(*((tenths / 10, right) for tenths, right in part)) for part in parts]
    accepted = [
        threshold
        for threshold in sorted({float(value) for part in found for value in part.confidence})
        if all(accuracy is None or accuracy >= target for _, accuracy in (p.accepted(threshold) for p in found))
    ]
    assert threshold_for(target, found) == (accepted[0] if accepted else math.inf)
