"""Measures a model in the new place by a labeled random sample, which is separate from the chosen images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from afield.evaluation import labels_to_halve, wilson

RESAMPLES = 2000


@dataclass(frozen=True)
class Fraction:
    """A fraction of n images, with its 95 % interval.

    Attributes:
        value: fraction in the sample.
        ci95: lower and upper end of the interval.
        n: number of images.
    """

    value: float
    ci95: tuple[float, float]
    n: int

    @classmethod
    def of(cls, right: NDArray[np.bool_]) -> Fraction:
        """Compute the fraction of true values and its Wilson interval."""
        return cls(float(right.mean()), wilson(int(right.sum()), len(right)), len(right))


@dataclass(frozen=True)
class Audit:
    """Results on the audit sample.

    Attributes:
        accuracy: accuracy with its Wilson interval.
        balanced_accuracy: mean recall of the classes in the sample, with a bootstrap interval.
        recall: recall of each class in the sample, by name, with its Wilson interval.
        to_halve: number of additional audit labels that would halve the interval of the accuracy.
    """

    accuracy: Fraction
    balanced_accuracy: Fraction
    recall: dict[str, Fraction]
    to_halve: int


def audit(predicted: NDArray[np.int64], labels: NDArray[np.int64], class_names: tuple[str, ...]) -> Audit:
    """Compare predictions with the labels of a random sample.

    Args:
        predicted: predicted class indices ``[N]``, N at least 1.
        labels: true class indices ``[N]``.
        class_names: K names.
    """
    right = predicted == labels
    return Audit(
        Fraction.of(right),
        _balanced(right, labels),
        {class_names[label]: Fraction.of(right[labels == label]) for label in np.unique(labels)},
        labels_to_halve(int(right.sum()), len(right)),
    )


def _balanced(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> Fraction:
    """The mean recall, with a percentile bootstrap interval from `RESAMPLES` resamples with replacement."""
    rows = np.random.default_rng(0).integers(len(labels), size=(RESAMPLES, len(labels)))
    found = np.array([_mean_recall(right[each], labels[each]) for each in (np.arange(len(labels)), *rows)])
    low, high = np.percentile(found[1:], (2.5, 97.5))
    return Fraction(float(found[0]), (float(low), float(high)), len(labels))


def _mean_recall(right: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    counts = np.bincount(labels)
    hits = np.bincount(labels, weights=right)
    return float((hits[counts > 0] / counts[counts > 0]).mean())
