"""Forecasts of the accuracy of a model in a new place, from its predictions for unlabeled images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor


def average_confidence(logits: Tensor) -> float:
    """The mean of the largest predicted probability: logits ``[N, K]`` -> a fraction.

    References:
        Hendrycks and Gimpel, "A baseline for detecting misclassified and out-of-distribution examples", ICLR 2017.
    """
    return float(_confidence(logits).mean())


@dataclass(frozen=True)
class Reference:
    """Values on the validation images of the training domains, for the forecasts that need them.

    Attributes:
        accuracy: accuracy, as a fraction.
        confidence: average confidence.
        threshold: confidence threshold; the fraction of images at or above it equals the accuracy.
    """

    accuracy: float
    confidence: float
    threshold: float

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> Reference:
        """Compute the values from the logits ``[N, K]`` and labels ``[N]`` of validation images."""
        confidence, wrong = _confidence(logits).sort().values, int((logits.argmax(dim=1) != labels).sum())
        threshold = float(confidence[wrong]) if wrong < len(labels) else math.inf
        return cls(1 - wrong / len(labels), float(confidence.mean()), threshold)


def difference_of_confidences(logits: Tensor, reference: Reference) -> float:
    """The validation accuracy plus the change of the average confidence from validation images to logits ``[N, K]``.

    References:
        Guillory et al., "Predicting with confidence on unseen distributions", ICCV 2021, equation 4 (DoC, taken as the
        difference of accuracies).
    """
    return min(max(reference.accuracy + average_confidence(logits) - reference.confidence, 0.0), 1.0)


def average_thresholded_confidence(logits: Tensor, reference: Reference) -> float:
    """The fraction of images whose confidence is at least the threshold of the validation images: logits ``[N, K]``.

    References:
        Garg et al., "Leveraging unlabeled data to predict out-of-distribution performance", ICLR 2022, equations 2 and
        3, with the largest probability as the score (ATC-MC).
    """
    return float((_confidence(logits) >= reference.threshold).double().mean())


def seed_agreement(logits: Sequence[Tensor]) -> float:
    """The fraction of equal predictions, averaged over pairs of models with different seeds: logits ``[N, K]`` each.

    References:
        Jiang et al., "Assessing generalization of SGD via disagreement", ICLR 2022, equation 2.
    """
    pairs = [self_agreement(first, second) for first, second in combinations(logits, 2)]
    return sum(pairs) / len(pairs)


def self_agreement(logits: Tensor, adapted: Tensor) -> float:
    """The fraction of images with the same prediction before and after adaptation: logits ``[N, K]`` each."""
    return float((logits.argmax(dim=1) == adapted.argmax(dim=1)).double().mean())


def forecasts(logits: Tensor, adapted: Tensor, reference: Reference) -> dict[str, float]:
    """All forecasts for a single model, by name."""
    return {
        "self_agreement": self_agreement(logits, adapted),
        "average_confidence": average_confidence(logits),
        "difference_of_confidences": difference_of_confidences(logits, reference),
        "average_thresholded_confidence": average_thresholded_confidence(logits, reference),
    }


def _confidence(logits: Tensor) -> Tensor:
    return torch.softmax(logits.double(), dim=1).amax(dim=1)
