"""Refitting a head to a few labels."""

from __future__ import annotations

import pytest
import torch

from afield.heads import ArcFaceHead, LinearHead
from afield.labeling.refit import DEFAULT_TRUST, TRUSTS, Labeled, choose_trust, refit
from afield.objective import Objective


def images(count: int, turned: float = 0.0, seed: int = 0) -> Labeled:
    """Three classes at angles, turned by some radians."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    angles = labels * 2.1 + turned + 0.3 * torch.randn(count, generator=generator)
    return Labeled(3 * torch.stack([angles.cos(), angles.sin()], dim=1), labels)


def objective() -> Objective:
    torch.manual_seed(0)
    return Objective(LinearHead(2, 3), {"cross_entropy": 1.0})


def accuracy(fitted: Objective, test: Labeled) -> float:
    return float((fitted.logits(test.features).argmax(dim=1) == test.labels).float().mean())


@pytest.fixture
def model() -> Objective:
    return refit(objective(), images(300), trust=0.1)


def test_the_head_is_at_the_minimum_of_its_formula(model):
    target, source, trust = images(20, turned=1.0), images(50, seed=1), 2.0
    fitted = refit(model, target, source, trust=trust)
    weights = [each.detach().clone().double().requires_grad_() for each in fitted.head.parameters()]
    weight, bias = weights

    def loss(part: Labeled) -> torch.Tensor:
        logits = part.features.double() @ weight.T + bias
        return torch.nn.functional.cross_entropy(logits, part.labels)

    moved = sum((w - w0.double()).square().sum() for w, w0 in zip(weights, model.head.parameters(), strict=True))
    total = 20 * loss(target) + trust * (moved * target.features.square().mean() / 2 + loss(source))
    for gradient in torch.autograd.grad(total, weights):
        assert gradient.abs().max() < 2e-2  # 20 times the mean, in float32


def test_labels_of_a_place_that_is_turned_turn_the_head(model):
    place = images(300, turned=1.0, seed=2)
    before, after = accuracy(model, place), accuracy(refit(model, images(24, turned=1.0)), place)
    assert before < 0.65
    assert after > 0.9


def test_more_trust_moves_the_head_less(model):
    target = images(12, turned=1.0)
    moved = [float((refit(model, target, trust=trust).head.weight - model.head.weight).norm()) for trust in (0.5, 2, 8)]
    assert moved == sorted(moved, reverse=True)
    still = refit(model, target, trust=1e7).head.weight
    torch.testing.assert_close(still, model.head.weight, atol=1e-4, rtol=0)


def test_the_model_is_left_alone_and_the_scale_of_features_does_not_matter(model):
    target, before = images(12, turned=1.0), model.head.weight.clone()
    plain = refit(model, target)
    assert torch.equal(model.head.weight, before)
    assert not plain.head.weight.requires_grad
    small = objective()
    with torch.no_grad():
        small.head.weight.copy_(model.head.weight * 10)
        small.head.bias.copy_(model.head.bias)
    scaled = Labeled(target.features / 10, target.labels)
    weight = refit(small, scaled).head.weight / 10
    torch.testing.assert_close(weight, plain.head.weight, atol=0.1, rtol=0.1)


def test_any_head_is_refitted_by_its_own_loss():
    torch.manual_seed(0)
    margin = Objective(ArcFaceHead(2, 3), {"cross_entropy": 1.0})
    target, place = images(30, turned=1.0), images(300, turned=1.0, seed=2)
    fitted = refit(margin, target, trust=0.5)
    assert margin(target.features, target.labels) > fitted(target.features, target.labels)
    assert accuracy(fitted, place) > 0.9


def test_trust_is_chosen_by_the_images_left_out(model, monkeypatch):
    monkeypatch.setattr("afield.labeling.refit.TRUSTS", (1e4, 0.5))
    assert choose_trust(model, images(60, turned=2.0)) == 0.5
    noise = images(60, seed=1)
    wrong = Labeled(noise.features, noise.labels.roll(1))  # a fit to the labels of other images is worse than none
    wrong.labels[::2] = noise.labels[::2]
    assert choose_trust(model, wrong) == 1e4


def test_few_images_and_equally_good_trusts_give_the_default(model):
    assert choose_trust(model, images(7, turned=2.0)) == DEFAULT_TRUST == TRUSTS[0]
    still = Labeled(torch.zeros(24, 2), torch.arange(24) % 3)
    assert choose_trust(model, still) == DEFAULT_TRUST
