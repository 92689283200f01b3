"""Agreement with scikit-activeml, where it has the strategy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from afield.labeling import Pool, bald, core_set, entropy, least_confidence, margin
from afield.labeling.typiclust import typicality

pool_module = pytest.importorskip("skactiveml.pool", reason="scikit-activeml is not installed")


@pytest.fixture
def pool() -> Pool:
    generator = torch.Generator().manual_seed(0)
    labeled = torch.arange(50) < 4
    draws = torch.randn(6, 50, 4, generator=generator)
    return Pool(torch.randn(50, 5, generator=generator), draws[0], labeled=labeled, draws=draws)


@pytest.mark.parametrize(
    ("strategy", "method"), [(entropy, "entropy"), (margin, "margin_sampling"), (least_confidence, "least_confident")]
)
def test_uncertainty(pool, strategy, method):
    scores = pool_module.uncertainty_scores(pool.logits.softmax(dim=1).numpy(), method=method)
    expected = np.argsort(-np.where(pool.labeled, -np.inf, scores), kind="stable")[:20]
    assert strategy(pool, 20, torch.Generator()).tolist() == expected.tolist()


def test_bald(pool):
    utilities = pool_module.batch_bald(pool.draws.softmax(dim=2).numpy(), batch_size=1, n_MC_samples=6)[0]
    expected = np.argsort(-np.where(pool.labeled, -np.inf, utilities), kind="stable")[:20]
    assert bald(pool, 20, torch.Generator()).tolist() == expected.tolist()


def test_core_set(pool):
    from skactiveml.pool._core_set import k_greedy_center

    labels = np.where(pool.labeled, 0.0, np.nan)
    expected, _ = k_greedy_center(pool.features.numpy(), labels, batch_size=20, random_state=0)
    assert core_set(pool, 20, torch.Generator()).tolist() == expected.tolist()


def test_typicality(pool):
    from skactiveml.pool._typi_clust import _typicality

    expected = _typicality(pool.features.numpy(), np.arange(50), k=20)
    np.testing.assert_allclose(typicality(pool.features, torch.Generator()), expected, rtol=1e-3)
