"""Scores of a pretrained backbone for a classification task, from features and labels without training.

Import them from this module; ``afield.evaluation`` does not, because scikit-learn takes time to load.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from sklearn.covariance import LedoitWolf

ROUNDS, TOLERANCE = 1000, 1e-8
"""Largest number of updates of the hyper-parameters of `log_me`, and the relative change at which they end."""

EPS = 1e-10


def log_me(features: NDArray, labels: NDArray) -> float:
    """The logarithm of the maximum evidence of a Bayesian linear model of the labels, per image: higher is better.

    For each class, the one-hot targets ``y`` are modeled by ``y ~ N(F w, 1 / beta)`` with ``w ~ N(0, 1 / alpha)``. The
    evidence ``log p(y | F)`` is maximized over alpha and beta, divided by N, and averaged over the classes.

    Args:
        features: features ``[N, D]``.
        labels: class indices ``[N]``.

    Raises:
        ValueError: if there are fewer than two classes, or the shapes do not fit.

    References:
        You et al., "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021, equation 2 and
        algorithm 1.
    """
    classes = _classes(features, labels)
    left, singular, _ = np.linalg.svd(np.asarray(features, np.float64), full_matrices=False)
    squares = singular**2
    return float(np.mean([_evidence(left, squares, (labels == label).astype(np.float64)) for label in classes]))


def h_score(features: NDArray, labels: NDArray) -> float:
    """The H-score with shrinkage: the variance between class means relative to the variance of the features.

    It is ``tr(S^-1 (1 - a) B)``, where ``S`` is the Ledoit-Wolf estimate of the covariance of the features, ``a`` its
    shrinkage, and ``B`` the covariance of the class means over images. Higher is better; at most the number of classes
    minus 1.

    Args:
        features: features ``[N, D]``.
        labels: class indices ``[N]``.

    Raises:
        ValueError: if there are fewer than two classes, or the shapes do not fit.

    References:
        Bao et al., "An Information-Theoretic Approach to Transferability in Task Transfer Learning", ICIP 2019,
        definition 2. The shrinkage: Ibrahim et al., "Newer is not always better: Rethinking transferability metrics",
        ECML PKDD 2022, section 3.
    """
    classes = _classes(features, labels)
    features = np.asarray(features, np.float64)
    covariance = LedoitWolf().fit(features)
    means = np.empty_like(features)
    for label in classes:
        means[labels == label] = features[labels == label].mean(axis=0)
    between = np.cov(means, rowvar=False, bias=True).reshape(features.shape[1], -1)
    kept = 1 - covariance.shrinkage_
    return float(kept * np.trace(solve(covariance.covariance_, between, assume_a="pos")))


def _classes(features: NDArray, labels: NDArray) -> NDArray:
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ValueError(f"features [N, D] and labels [N] are needed, got {features.shape} and {labels.shape}")
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError("at least two classes are needed")
    return classes


def _evidence(left: NDArray, squares: NDArray, targets: NDArray) -> float:
    """The maximum evidence per image. `left` are the left singular vectors, `squares` the squared singular values."""
    count = len(targets)
    projected = (left.T @ targets) ** 2
    outside = max(float(targets @ targets - projected.sum()), 0.0)
    alpha = beta = 1.0
    for _ in range(ROUNDS):
        ratio = alpha / beta
        gamma = float((squares / (squares + ratio)).sum())
        weight = float((squares * projected / (squares + ratio) ** 2).sum())
        residual = float((projected * (ratio / (squares + ratio)) ** 2).sum()) + outside
        alpha, beta = gamma / (weight + EPS), (count - gamma) / (residual + EPS)
        if abs(alpha / beta - ratio) <= TOLERANCE * ratio:
            break
    ratio = alpha / beta
    weight = float((squares * projected / (squares + ratio) ** 2).sum())
    residual = float((projected * (ratio / (squares + ratio)) ** 2).sum()) + outside
    evidence = (
        len(squares) * np.log(alpha)
        - np.log(alpha + beta * squares).sum()
        + count * np.log(beta / (2 * np.pi))
        - beta * residual
        - alpha * weight
    )
    return float(evidence) / (2 * count)
