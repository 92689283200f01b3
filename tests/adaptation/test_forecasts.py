"""Forecasts of accuracy, computed by hand from probabilities."""

from __future__ import annotations

import pytest
import torch

from afield.adaptation.forecasts import (
    Reference,
    average_confidence,
    average_thresholded_confidence,
    difference_of_confidences,
    seed_agreement,
    self_agreement,
)


def logits_of(*confidences, label=0):
    """Two classes; the given probability for the label."""
    p = torch.tensor(confidences, dtype=torch.float64)
    columns = (p.log(), (1 - p).log())
    return torch.stack(columns if label == 0 else columns[::-1], dim=1)


VALIDATION, LABELS = logits_of(0.95, 0.9, 0.8, 0.7, 0.6), torch.tensor([0, 0, 0, 1, 1])
NEW = logits_of(0.9, 0.8, 0.75, 0.55)


def test_average_confidence():
    assert average_confidence(NEW) == pytest.approx(0.75)


def test_the_reference_has_as_many_images_below_the_threshold_as_are_wrong():
    reference = Reference.of(VALIDATION, LABELS)
    assert reference.accuracy == pytest.approx(0.6)
    assert reference.confidence == pytest.approx(0.79)
    assert reference.threshold == pytest.approx(0.8)
    assert average_thresholded_confidence(VALIDATION, reference) == pytest.approx(0.6)


def test_difference_of_confidences():
    assert difference_of_confidences(NEW, Reference.of(VALIDATION, LABELS)) == pytest.approx(0.6 + 0.75 - 0.79)
    assert difference_of_confidences(NEW, Reference(1.0, 0.5, 0.0)) == 1


def test_average_thresholded_confidence():
    assert average_thresholded_confidence(NEW, Reference.of(VALIDATION, LABELS)) == pytest.approx(0.5)


def test_a_model_that_is_wrong_about_all_validation_images_reaches_no_threshold():
    reference = Reference.of(VALIDATION, torch.ones(5, dtype=torch.long))
    assert (reference.accuracy, average_thresholded_confidence(VALIDATION, reference)) == (0, 0)


def test_agreements():
    first, second, third = (torch.eye(2)[rows] for rows in ([0, 0, 1, 1], [0, 1, 1, 1], [1, 1, 1, 0]))
    assert self_agreement(first, second) == 0.75
    assert seed_agreement([first, second, third]) == pytest.approx((0.75 + 0.25 + 0.5) / 3)
