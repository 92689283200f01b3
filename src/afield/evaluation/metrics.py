"""Metrics of predictions, as fractions unless stated otherwise. NumPy and SciPy only.

Arguments of all metrics:

* `logits`, ``[N, K]``, and `labels`, class indices ``[N]``.
* `weight`, ``[N]`` or ``[B, N]``: how often each image counts; by default once. With ``[B, N]``, the result has one
  more dimension in front, ``[B, ...]``, as `afield.evaluation.bootstrap` needs it.

Classes without images are left out of means and minima.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import softmax

from afield.evaluation.registry import METRICS

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]
Weight = NDArray | None

OF_CLASSES = "Manning, Raghavan, Schuetze, Introduction to Information Retrieval, 2008, chapters 8 and 13."


@METRICS.register("accuracy", title="accuracy")
def accuracy(logits: Floats, labels: Labels, *, weight: Weight = None) -> Any:
    """Fraction of images whose largest logit is that of their class."""
    return _mean(logits.argmax(axis=1) == labels, weight)


@METRICS.register(
    "balanced_accuracy",
    reference="Brodersen et al., The Balanced Accuracy and Its Posterior Distribution, ICPR 2010.",
    title="balanced accuracy",
)
def balanced_accuracy(logits: Floats, labels: Labels, *, weight: Weight = None) -> Any:
    """Mean recall of the classes: every class counts equally."""
    return np.nanmean(recall(logits, labels, weight=weight), axis=-1)


@METRICS.register("macro_f1", reference=OF_CLASSES, title="macro-F1")
def macro_f1(logits: Floats, labels: Labels, *, weight: Weight = None) -> Any:
    """Mean over classes of F1, the harmonic mean of precision and recall.

    Classes that are neither true nor predicted are left out; a class that is only predicted counts as 0.
    """
    right, actual, predicted = _class_counts(logits, labels, weight)
    return np.nanmean(_ratio(2 * right, actual + predicted), axis=-1)


@METRICS.register("map", reference=OF_CLASSES, title="mAP")
def mean_average_precision(logits: Floats, labels: Labels, *, weight: Weight = None) -> Any:
    """Mean over classes of the average precision of each class against the others.

    The score of a class is its softmax probability, because logits of different images are not comparable. The average
    precision is ``sum_i (R_i - R_{i-1}) P_i`` over falling scores, without interpolation; equal scores are one step.
    """
    classes = np.unique(labels)
    scores = softmax(logits.astype(np.float64), axis=1)
    counts = _ones(labels) if weight is None else weight
    each = [_average_precision(scores[:, label], labels == label, counts) for label in classes]
    return np.nanmean(each, axis=0)


@METRICS.register(
    "ece",
    reference="Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.",
    title="ECE",
    lower_is_better=True,
)
def expected_calibration_error(logits: Floats, labels: Labels, *, bins: int = 15, weight: Weight = None) -> Any:
    """Expected calibration error: the gap between confidence and accuracy.

    It is the mean gap over `bins` bins of confidence of equal width, weighted by their size. The confidence is the
    largest softmax probability.
    """
    confidence = softmax(logits.astype(np.float64), axis=1).max(axis=1)
    right = logits.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = _sums(index, bins, weight, right - confidence)
    total = len(labels) if weight is None else weight.sum(axis=-1)
    return np.abs(gaps).sum(axis=-1) / total


@METRICS.register(
    "nll",
    reference="Gneiting, Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, JASA 2007.",
    title="NLL",
    highest=np.inf,
    percent=False,
    lower_is_better=True,
)
def negative_log_likelihood(logits: Floats, labels: Labels, *, weight: Weight = None) -> Any:
    """Negative log-likelihood of the true classes: the mean cross-entropy, in nats."""
    return _mean(cross_entropies(logits, logits.max(axis=1, keepdims=True), labels), weight)


def cross_entropies(logits: Floats, largest: Floats, labels: Labels) -> Floats:
    """The cross-entropy of each image, ``[N]``, from its logits ``[N, K]`` and the largest of them, ``[N, 1]``."""
    shifted = logits.astype(np.float64) - largest
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]


@METRICS.register(
    "brier",
    reference="Brier, Verification of Forecasts Expressed in Terms of Probability, 1950, equation 2.",
    title="Brier score",
    highest=2.0,
    percent=False,
    lower_is_better=True,
)
def brier(logits: Floats, labels: Labels, *, weight: Weight = None) -> Any:
    """Brier score, in [0, 2]: the squared error of the probabilities, summed over classes.

    It is ``mean_i sum_k (p_ik - [k = y_i])^2``.
    """
    error = softmax(logits.astype(np.float64), axis=1)
    error[np.arange(len(labels)), labels] -= 1
    return _mean(np.square(error).sum(axis=1), weight)


@METRICS.register("worst_domain", title="accuracy of the worst domain", by_domain=True)
def worst_domain(logits: Floats, labels: Labels, domains: Labels | None = None, *, weight: Weight = None) -> Any:
    """Lowest accuracy over domains; the accuracy if there is one domain.

    Args:
        logits: logits ``[N, K]``.
        labels: class indices ``[N]``.
        domains: domain indices ``[N]``; None means a single domain.
        weight: see the module.
    """
    index = np.zeros_like(labels) if domains is None else domains
    right, count = logits.argmax(axis=1) == labels, int(index.max()) + 1
    return np.nanmin(_ratio(_sums(index, count, weight, right), _sums(index, count, weight)), axis=-1)


@METRICS.register("worst_class", title="recall of the worst class")
def worst_class(logits: Floats, labels: Labels, *, weight: Weight = None) -> Any:
    """Lowest recall over classes."""
    return np.nanmin(recall(logits, labels, weight=weight), axis=-1)


def recall(logits: Floats, labels: Labels, *, weight: Weight = None) -> Floats:
    """Fraction of the images of each class that are predicted as it, ``[..., K]``; NaN for a class without images."""
    right, actual, _ = _class_counts(logits, labels, weight)
    return _ratio(right, actual)


def precision(logits: Floats, labels: Labels, *, weight: Weight = None) -> Floats:
    """Fraction of the predictions of each class that are right, ``[..., K]``; NaN for a class that is not predicted."""
    right, _, predicted = _class_counts(logits, labels, weight)
    return _ratio(right, predicted)


def class_by_domain(logits: Floats, labels: Labels, domains: Labels, count: int) -> Floats:
    """The accuracy on the images of each class in each of `count` domains, ``[K, count]``; NaN without such images."""
    cells, size = labels * count + domains, logits.shape[1] * count
    right = logits.argmax(axis=1) == labels
    return _ratio(_sums(cells, size, None, right), _sums(cells, size, None)).reshape(-1, count)


def measure(logits: Floats, labels: Labels, domains: Labels | None = None, weight: Weight = None) -> dict[str, Any]:
    """All registered metrics by name."""
    return {entry.name: entry.value(logits, labels, domains, weight) for entry in METRICS}


def confusion(logits: Floats, labels: Labels) -> NDArray[np.int64]:
    """The confusion matrix ``[K, K]``: counts with the true class as row and the predicted class as column."""
    classes = logits.shape[1]
    return np.bincount(labels * classes + logits.argmax(axis=1), minlength=classes**2).reshape(classes, classes)


def non_target_probabilities(logits: Floats, labels: Labels, label: int) -> Floats:
    """Mean softmax probability ``[K]`` of each class over the images of class `label`, NaN for `label` itself.

    References:
        Complement flattening for domain generalization, 2020, figure 1.
    """
    mean = softmax(logits[labels == label].astype(np.float64), axis=1).mean(axis=0)
    mean[label] = np.nan
    return mean


def _class_counts(logits: Floats, labels: Labels, weight: Weight) -> tuple[Floats, Floats, Floats]:
    """The number of right images, images and predictions of each class, each ``[..., K]``."""
    classes, predicted = logits.shape[1], logits.argmax(axis=1)
    right = _sums(labels, classes, weight, predicted == labels)
    return right, _sums(labels, classes, weight), _sums(predicted, classes, weight)


def _average_precision(scores: Floats, positive: NDArray[np.bool_], weight: NDArray) -> Floats:
    order = np.argsort(-scores, kind="stable")
    steps = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    ranks = np.cumsum(positive[order])[steps]  # positives up to each step; only steps with a positive count
    steps, ranks = (each[np.diff(ranks, prepend=0) > 0] for each in (steps, ranks))
    found = np.cumsum(weight[..., order[positive[order]]], axis=-1)[..., ranks - 1]
    seen = np.cumsum(weight[..., order], axis=-1)[..., steps]
    gained = np.diff(found, axis=-1, prepend=0)
    return _ratio((gained * found / np.maximum(seen, 1)).sum(axis=-1), found[..., -1])


def _mean(values: NDArray, weight: Weight) -> Any:
    return values.mean() if weight is None else weight @ values / weight.sum(axis=-1)


def _sums(index: Labels, size: int, weight: Weight, values: NDArray | None = None) -> Floats:
    """The sum of the values ``[N]`` (by default 1) at each index, ``[..., size]``."""
    if weight is None:
        return np.bincount(index, values, minlength=size).astype(np.float64)
    entries = _ones(index) if values is None else values.astype(np.float64)
    return weight @ csr_array((entries, (np.arange(len(index)), index)), shape=(len(index), size))


def _ones(labels: Labels) -> Floats:
    return np.ones(len(labels))


def _ratio(part: Any, whole: Any) -> Floats:
    """``part / whole``, NaN where the whole is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
