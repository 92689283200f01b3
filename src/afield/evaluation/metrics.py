"""Metrics of predictions: accuracy, average precision, calibration, confusion, wrong classes. NumPy only."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax
from sklearn.metrics import average_precision_score

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]


def accuracy(logits: Floats, labels: Labels) -> float:
    """Logits ``[N, K]``, labels ``[N]`` -> top-1 accuracy as a fraction."""
    return float((logits.argmax(axis=1) == labels).mean())


def mean_average_precision(logits: Floats, labels: Labels) -> float:
    """The one-vs-rest average precision, averaged over classes, as a fraction.

    The score of a class is its softmax probability, because logits of different images are not comparable. Classes
    without positive examples are skipped.
    """
    scores = softmax(logits.astype(np.float64), axis=1)
    return float(np.mean([average_precision_score(labels == k, scores[:, k]) for k in np.unique(labels)]))


def confusion(logits: Floats, labels: Labels) -> NDArray[np.int64]:
    """The confusion matrix ``[K, K]``: counts with the true class as row and the predicted class as column."""
    classes = logits.shape[1]
    return np.bincount(labels * classes + logits.argmax(axis=1), minlength=classes**2).reshape(classes, classes)


def expected_calibration_error(logits: Floats, labels: Labels, *, bins: int = 15) -> float:
    """The mean gap between confidence and accuracy over bins of confidence, weighted by their size, as a fraction.

    Args:
        logits: logits ``[N, K]``. The confidence is the largest softmax probability.
        labels: class indices ``[N]``.
        bins: number of bins of equal width.

    References:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    confidence = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    right = logits.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(index, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def non_target_probabilities(logits: Floats, labels: Labels, label: int) -> Floats:
    """Mean softmax probability ``[K]`` of each class over the images of class `label`, NaN for `label` itself.

    References:
        Complement flattening for domain generalization, 2020, figure 1.
    """
    mean = softmax(logits[labels == label].astype(np.float64), axis=1).mean(axis=0)
    mean[label] = np.nan
    return mean


def loss(logits: Floats, labels: Labels) -> float:
    """Mean cross-entropy, in nats."""
    wide = logits.astype(np.float64)
    return float((logsumexp(wide, axis=1) - wide[np.arange(len(labels)), labels]).mean())
