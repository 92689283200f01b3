"""LogME and H-score against direct computations of their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf

from afield.evaluation.transferability import h_score, log_me


def clusters(distance, count=40, width=6, classes=3):
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    return rng.normal(size=(classes, width))[labels] * distance + rng.normal(size=(count, width)), labels


def largest_evidence(features, targets):
    """The maximum over alpha and beta of log N(y; 0, I / beta + F F^T / alpha): the weights are integrated out."""

    def negative(logs):
        alpha, beta = np.exp(logs)
        covariance = np.eye(len(targets)) / beta + features @ features.T / alpha
        return -multivariate_normal.logpdf(targets, np.zeros(len(targets)), covariance)

    found = minimize(negative, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    return -found.fun


@pytest.mark.parametrize("shape", [(40, 6), (12, 20)], ids=["more images", "more features"])
def test_log_me_is_the_largest_evidence_per_image(shape):
    features, labels = clusters(1.0, *shape)
    expected = np.mean([largest_evidence(features, (labels == label) * 1.0) / len(labels) for label in range(3)])
    assert log_me(features, labels) == pytest.approx(expected, abs=1e-5)


def test_log_me_does_not_depend_on_the_order_of_images_or_on_a_rotation():
    features, labels = clusters(1.0)
    rng = np.random.default_rng(1)
    order, rotation = rng.permutation(len(labels)), np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert log_me(features[order] @ rotation, labels[order]) == pytest.approx(log_me(features, labels))


def test_h_score_is_the_trace_of_its_definition():
    features, labels = clusters(1.0)
    covariance, shrinkage = ledoit_wolf(features)
    centered = features - features.mean(axis=0)
    between = sum(
        (labels == label).mean() * np.outer(mean, mean)
        for label in range(3)
        for mean in [centered[labels == label].mean(axis=0)]
    )
    expected = (1 - shrinkage) * np.trace(np.linalg.inv(covariance) @ between)
    assert 0 < shrinkage < 1
    assert h_score(features, labels) == pytest.approx(expected)


@pytest.mark.parametrize("score", [log_me, h_score])
def test_classes_that_are_farther_apart_have_higher_scores(score):
    values = [score(*clusters(distance)) for distance in (0.0, 1.0, 4.0)]
    assert values == sorted(values)
    assert values[0] < values[1] < values[2]


def test_the_h_score_is_at_most_the_number_of_classes_minus_1():
    assert 1.9 < h_score(*clusters(100.0, count=3000)) <= 2


@pytest.mark.parametrize("score", [log_me, h_score])
def test_wrong_shapes_and_a_single_class_are_refused(score):
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        score(np.zeros((3, 2, 2)), np.zeros(3, int))
    with pytest.raises(ValueError, match="two classes"):
        score(np.zeros((3, 2)), np.zeros(3, int))
