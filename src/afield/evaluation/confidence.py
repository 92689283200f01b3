"""Confidence of predictions: temperature, the threshold that reaches an accuracy, risk by coverage. NumPy only."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from afield.evaluation.metrics import Floats, Labels, cross_entropies

TEMPERATURES = (0.05, 20.0)
"""Range of temperatures."""


@dataclass(frozen=True)
class Scored:
    """Predictions of a set of images with known classes.

    Attributes:
        confidence: largest probability of each image, ``[N]``.
        right: whether the prediction is right, ``[N]``.
    """

    confidence: Floats
    right: NDArray[np.bool_]

    @classmethod
    def of(cls, logits: Floats, labels: Labels, temperature: float = 1.0) -> "Scored":
        """Score logits ``[N, K]`` with labels ``[N]``."""
        confidence = softmax(logits.astype(np.float64) / temperature, axis=1).max(axis=1)
        return cls(confidence.astype(np.float32), logits.argmax(axis=1) == labels)

    def accepted(self, threshold: float) -> tuple[float, float | None]:
        """The fraction of images with at least this confidence, and the accuracy among them; None without any."""
        chosen = self.confidence >= np.float32(threshold)
        return float(chosen.mean()), float(self.right[chosen].mean()) if chosen.any() else None

    def risk_coverage(self) -> tuple[Floats, Floats]:
        """The risk by coverage, ``[M]`` each: for each distinct confidence, of the images with at least this one.

        The coverage is the fraction of these images among all, and the risk the fraction of wrong predictions among
        them. The coverage increases to 1.

        References:
            Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017, equations 1 and 2.
        """
        order = np.argsort(-self.confidence, kind="stable")
        last = np.append(np.diff(self.confidence[order]) != 0, True)
        count = np.arange(1, len(order) + 1)
        wrong = np.cumsum(~self.right[order])
        return (count / len(order))[last], (wrong / count)[last]

    def risk_at(self, coverages: Sequence[float]) -> Floats:
        """The risk at the smallest coverage of `risk_coverage` that is at least each of these, ``[C]``."""
        coverage, risk = self.risk_coverage()
        return risk[np.searchsorted(coverage, np.asarray(coverages) - 1e-9)]


def fit_temperature(parts: Sequence[tuple[Floats, Labels]]) -> float:
    """The temperature T that minimizes the cross-entropy of ``softmax(logits / T)``, averaged over parts.

    The loss is convex in 1 / T, so that the minimum is unique. It lies in `TEMPERATURES`; predicted classes do not
    change.

    Args:
        parts: logits ``[N, K]`` and labels ``[N]`` of sets of images, such as domains. Each set has the same weight.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    largest = [logits.max(axis=1, keepdims=True) for logits, _ in parts]

    def mean_loss(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        losses = [
            cross_entropies(logits / temperature, most / temperature, labels).mean()
            for (logits, labels), most in zip(parts, largest, strict=True)
        ]
        return sum(losses) / len(parts)

    low, high = map(math.log, TEMPERATURES)
    return math.exp(minimize_scalar(mean_loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4}).x)


def threshold_for(target: float, parts: Sequence[Scored]) -> float:
    """The smallest confidence at or above which the accuracy is at least `target` on each part; infinite without one.

    Args:
        target: accuracy, a fraction.
        parts: predictions of sets of images, such as domains. A part without images at or above a confidence does not
            count there.
    """
    candidates = np.unique(np.concatenate([part.confidence for part in parts]))
    reached = np.ones(len(candidates), dtype=bool)
    for part in parts:
        order = np.argsort(part.confidence)
        start = np.searchsorted(part.confidence[order], candidates)
        right = np.append(np.cumsum(part.right[order][::-1])[::-1], 0)[start]
        reached &= right >= target * (len(order) - start) - 1e-9
    return float(candidates[reached.argmax()]) if reached.any() else math.inf
