"""MMD-AAE: the distance between domains, the prior, and who learns what from the adversary."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms import MMDAAE, Batch
from afield.algorithms.mmd_aae import mmd_distance
from afield.algorithms.parts.reversal import scaled_gradient
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective

DOMAINS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 0])


def make(side: int = 8, **options: float) -> tuple[MMDAAE, Batch]:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * side**2, 6))
    objective = Objective(LinearHead(6, 3), {"cross_entropy": 1.0})
    classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=0.0)
    images = torch.rand(12, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    algorithm = MMDAAE(classifier, [5, 4, 3], **options).double()
    return algorithm, Batch(images, torch.arange(12) % 3, DOMAINS, torch.arange(12), 0.5)


def test_mmd_against_numpy():
    features = 3 * torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    groups = [features[domain == DOMAINS].numpy() for domain in range(3)]

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        squares = ((a[:, None] - b) ** 2).sum(axis=2)
        return np.mean([np.exp(-squares / (2 * width**2)).mean() for width in (1, 5, 10)])

    distances = [kernel(a, a) + kernel(b, b) - 2 * kernel(a, b) for a, b in itertools.product(groups, repeat=2)]
    assert float(mmd_distance(features, DOMAINS)) == pytest.approx(sum(distances) / 9, rel=1e-12)


def test_mmd_is_zero_for_equal_domains_grows_with_their_distance_and_has_an_exact_gradient():
    features = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    domains = torch.arange(8) // 4
    twice = torch.cat([features, features.flip(0)])
    assert abs(float(mmd_distance(twice, domains))) < 1e-12
    found = [float(mmd_distance(torch.cat([features, features + shift]), domains)) for shift in (0.5, 1.0, 5.0, 1e3)]
    assert found == sorted(found)
    assert found[-1] < 1
    assert mmd_distance(features, torch.zeros(4)) == 0
    distant = torch.cat([features, 2 * features + 1]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mmd_distance(x, domains), distant)


def test_a_scaled_gradient_leaves_the_value_and_may_be_reversed():
    x = torch.tensor([1.5, -0.1], requires_grad=True)
    same = scaled_gradient(x, -0.3)
    assert torch.equal(same, x)
    (same * torch.tensor([2.0, 5.0])).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([-0.6, -1.5]))


def test_the_adversary_descends_its_loss_and_the_backbone_climbs_it():
    algorithm, batch = make(adversary=0.25)
    weight, own = algorithm.classifier.backbone[1].weight, list(algorithm.adversary.parameters())
    torch.manual_seed(3)
    loss = algorithm(batch)["adversary"]
    found = torch.autograd.grad(loss, [weight, *own])
    torch.manual_seed(3)
    features = algorithm.classifier.features(batch.inputs)
    prior = torch.empty(12, 6).exponential_().double()
    logits = torch.cat([algorithm.adversary(prior), algorithm.adversary(features.abs())]).squeeze(1)
    labels = torch.tensor([1.0] * 12 + [0.0] * 12, dtype=torch.float64)
    plain = 2 * F.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(loss, plain)
    expected = torch.autograd.grad(plain, [weight, *own])
    torch.testing.assert_close(found[0], -0.25 * expected[0])
    for gradient, same in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(gradient, same)


def test_the_backbone_brings_the_sizes_of_its_features_towards_the_prior():
    """Features that start at 0 come to a mean absolute value near 1, that of a Laplace distribution of scale 1."""
    torch.manual_seed(0)
    algorithm, _ = make(adversary=1.0, hidden=32)
    algorithm.float()
    features = (0.05 * torch.randn(256, 6)).requires_grad_()
    optimizer = torch.optim.SGD(
        [{"params": [features], "lr": 10.0}, {"params": algorithm.adversary.parameters()}], lr=0.1
    )
    before = float(features.detach().abs().mean())
    for _ in range(300):
        optimizer.zero_grad()
        algorithm.adversary_loss(scaled_gradient(features, algorithm.reversal)).backward()
        optimizer.step()
    assert before < 0.06
    assert float(features.detach().abs().mean()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("side", [8, 24, 48])
def test_the_decoder_draws_the_averages_of_cells(side):
    algorithm, batch = make(side, reconstruction=2.0)
    drawn = algorithm.decoder(algorithm.classifier.features(batch.inputs)).sigmoid()
    rows = [range(i * side // 16, -(-(i + 1) * side // 16)) for i in range(16)]
    cells = [batch.inputs[:, :, list(a)][:, :, :, list(b)].mean(dim=(2, 3)) for a in rows for b in rows]
    expected = (drawn.view(12, 3, 256) - torch.stack(cells, dim=2)).square().mean()
    torch.testing.assert_close(algorithm(batch)["reconstruction"], 2 * expected)


def test_the_terms_are_weighted_and_the_classifier_is_that_of_erm():
    algorithm, batch = make(mmd=3.0)
    terms = algorithm(batch)
    features = algorithm.classifier.features(batch.inputs)
    torch.testing.assert_close(terms["objective"], algorithm.classifier(batch.inputs, batch.targets))
    torch.testing.assert_close(terms["mmd"], 3 * mmd_distance(features, DOMAINS))
    plain, _ = make(reconstruction=0.0, mmd=0.0, adversary=0.0)
    weight = plain.classifier.backbone[1].weight
    (found,) = torch.autograd.grad(sum(plain(batch).values()), weight)
    torch.testing.assert_close(found, torch.autograd.grad(plain.classifier(batch.inputs, batch.targets), weight)[0])


@pytest.mark.parametrize(
    "options", [{"mmd": -1.0}, {"adversary": float("nan")}, {"reconstruction": -0.1}, {"hidden": 0}]
)
def test_an_option_out_of_bounds_is_an_error(options):
    with pytest.raises(ValueError, match="got"):
        make(**options)
