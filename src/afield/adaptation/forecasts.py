"""Forecasts of a model's accuracy in a new place, from its predictions for unlabeled images there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor


def average_confidence(logits: Tensor) -> float:
    """The mean of the largest probabilities: logits ``[N, K]`` -> a fraction.

    References:
        Hendrycks and Gimpel, "A baseline for detecting misclassified and out-of-distribution examples", ICLR 2017.
    """
    return float(_confidence(logits).mean())


@dataclass(frozen=True)
class Reference:
    """What two forecasts have to know of the training domains' validation images.

    Attributes:
        accuracy: on them, as a fraction.
        confidence: average confidence on them.
        threshold: of confidence; the fraction of them at or above it is the accuracy.
    """

    accuracy: float
    confidence: float
    threshold: float

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor) -> Reference:
        """From validation images: logits ``[N, K]``, labels ``[N]``."""
        confidence, wrong = _confidence(logits).sort().values, int((logits.argmax(dim=1) != labels).sum())
        threshold = float(confidence[wrong]) if wrong < len(labels) else math.inf
        return cls(1 - wrong / len(labels), float(confidence.mean()), threshold)


def difference_of_confidences(logits: Tensor, reference: Reference) -> float:
    """Accuracy on validation images, plus how much higher the average confidence is here: logits ``[N, K]``.

    References:
        Guillory et al., "Predicting with confidence on unseen distributions", ICCV 2021, equation 4 (DoC, taken as
        the difference of accuracies).
    """
    return min(max(reference.accuracy + average_confidence(logits) - reference.confidence, 0.0), 1.0)


def average_thresholded_confidence(logits: Tensor, reference: Reference) -> float:
    """The fraction of images whose confidence reaches the threshold of the validation images: logits ``[N, K]``.

    References:
        Garg et al., "Leveraging unlabeled data to predict out-of-distribution performance", ICLR 2022, equations 2
        and 3, with the largest probability as the score (ATC-MC).
    """
    return float((_confidence(logits) >= reference.threshold).double().mean())


def seed_agreement(logits: Sequence[Tensor]) -> float:
    """The fraction of equal predictions, averaged over pairs of models that differ in seed: each ``[N, K]``.

    References:
        Jiang et al., "Assessing generalization of SGD via disagreement", ICLR 2022, equation 2.
    """
    pairs = [self_agreement(first, second) for first, second in combinations(logits, 2)]
    return sum(pairs) / len(pairs)


def self_agreement(logits: Tensor, adapted: Tensor) -> float:
    """The fraction of images for which the model and its adapted self predict the same class: both ``[N, K]``."""
    return float((logits.argmax(dim=1) == adapted.argmax(dim=1)).double().mean())


def forecasts(logits: Tensor, adapted: Tensor, reference: Reference) -> dict[str, float]:
    """The forecasts that one model gives, by name."""
    return {
        "self_agreement": self_agreement(logits, adapted),
        "average_confidence": average_confidence(logits),
        "difference_of_confidences": difference_of_confidences(logits, reference),
        "average_thresholded_confidence": average_thresholded_confidence(logits, reference),
    }


def _confidence(logits: Tensor) -> Tensor:
    return torch.softmax(logits.double(), dim=1).amax(dim=1)
