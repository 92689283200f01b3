"""Algorithms that change the gradient of a step, against what is computed by hand."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from afield.algorithms import ERM, SMA, Batch
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.models import ResNet8
from afield.objective import Objective
from tests.algorithms.small import gradient, parts, small, updated
from tests.algorithms.stepped import stepped


def slopes_of(name: str, **options: float):
    algorithm, batch = small(name, **options)
    slopes = torch.stack([gradient(risk, algorithm) for risk in parts(algorithm, batch)[2]])
    return algorithm, batch, slopes


def by_weight(algorithm, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return values.split([weight.numel() for weight in algorithm.classifier.parameters()], dim=-1)


def test_and_mask_keeps_the_weights_whose_signs_agree():
    algorithm, batch, slopes = slopes_of("and_mask")
    expected = []
    for own in by_weight(algorithm, slopes):
        agree = (own > 0).all(dim=0) | (own < 0).all(dim=0)
        expected.append(own.mean(dim=0) * agree / agree.double().mean().clamp(min=1e-10))
    found = updated(algorithm, batch)
    torch.testing.assert_close(found, torch.cat(expected))
    assert 0 < (found == 0).sum() < len(found)
    torch.testing.assert_close(updated(small("and_mask", agreement=0.0)[0], batch), slopes.mean(dim=0))


def test_sand_mask_weighs_by_agreement_over_variance():
    algorithm, batch, slopes = slopes_of("sand_mask", agreement=0.2, steepness=1e-3)
    expected = []
    for own in by_weight(algorithm, slopes):
        factor = torch.tanh(1e-3 * (own.sign().mean(dim=0).abs() - 0.2) / own.var(dim=0)).clamp(min=0)
        expected.append(own.mean(dim=0) * factor / factor.mean())
    torch.testing.assert_close(updated(algorithm, batch), torch.cat(expected))


@pytest.mark.parametrize("name", ["and_mask", "sand_mask", "fish", "sam", "sagm"])
def test_gradients_that_are_there_are_kept(name):
    algorithm, batch = small(name)
    alone = updated(algorithm, batch)
    torch.manual_seed(0)
    for weight in algorithm.classifier.parameters():
        weight.grad = torch.full_like(weight, 2.0)
    algorithm.update(algorithm, batch, torch.Tensor.backward)
    found = torch.cat([weight.grad.flatten() for weight in algorithm.classifier.parameters()])
    torch.testing.assert_close(found, alone + 2)


def test_fish_is_the_way_of_three_steps_by_their_number_and_rate():
    algorithm, batch = small("fish", inner_rate=0.5)
    walker = copy.deepcopy(algorithm)
    start = torch.cat([weight.detach().flatten() for weight in walker.classifier.parameters()])
    torch.manual_seed(0)
    for domain in torch.randperm(3).tolist():
        slope = gradient(parts(walker, batch)[2][domain], walker)
        for weight, part in zip(walker.classifier.parameters(), by_weight(walker, slope), strict=True):
            weight.data -= 0.5 * part.view_as(weight)
    end = torch.cat([weight.detach().flatten() for weight in walker.classifier.parameters()])
    torch.testing.assert_close(updated(algorithm, batch), (start - end) / 1.5)
    now = torch.cat([weight.detach().flatten() for weight in algorithm.classifier.parameters()])
    assert torch.equal(now, start)


def test_fish_with_a_tiny_rate_is_the_mean_gradient_of_the_domains():
    algorithm, batch, slopes = slopes_of("fish", inner_rate=1e-6)
    torch.testing.assert_close(updated(algorithm, batch), slopes.mean(dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "options", "back"), [("sam", {}, 0.0), ("sagm", {"alpha": 0.3}, 0.3)])
def test_sam_takes_its_gradient_where_the_way_up_ends(name, options, back):
    algorithm, batch = small(name, radius=0.7, **options)
    first = gradient(algorithm.classifier(batch.inputs, batch.targets), algorithm)
    away = copy.deepcopy(algorithm)
    move = 0.7 * first / first.norm() - back * first
    for weight, part in zip(away.classifier.parameters(), by_weight(away, move), strict=True):
        weight.data += part.view_as(weight)
    second = gradient(away.classifier(batch.inputs, batch.targets), away)
    expected = second if name == "sam" else (first + second) / 2
    before = copy.deepcopy(algorithm.state_dict())
    torch.testing.assert_close(updated(algorithm, batch), expected)
    assert all(torch.equal(value, before[key]) for key, value in algorithm.state_dict().items())
    assert not torch.allclose(first, second, rtol=1e-2)


@pytest.mark.parametrize("name", ["and_mask", "sand_mask", "sam", "sagm"])
def test_the_terms_of_a_step_are_those_before_it_and_the_mean_over_domains(name):
    algorithm, batch = small(name)
    terms = algorithm.update(algorithm, batch, torch.Tensor.backward)
    assert list(terms) == ["objective"]
    assert not terms["objective"].requires_grad
    torch.testing.assert_close(terms["objective"], algorithm.classifier(batch.inputs, batch.targets).detach())


def test_the_terms_of_fish_are_the_mean_over_its_way():
    algorithm, batch = small("fish", inner_rate=0.5)
    walker, losses = copy.deepcopy(algorithm), []
    torch.manual_seed(0)
    for domain in torch.randperm(3).tolist():
        loss = parts(walker, batch)[2][domain]
        losses.append(loss.item())
        slope = gradient(loss, walker)
        for weight, part in zip(walker.classifier.parameters(), by_weight(walker, slope), strict=True):
            weight.data -= 0.5 * part.view_as(weight)
    torch.manual_seed(0)
    terms = algorithm.update(algorithm, batch, torch.Tensor.backward)
    assert terms["objective"].item() == pytest.approx(sum(losses) / 3)
    assert not terms["objective"].requires_grad


@pytest.mark.parametrize("name", ["and_mask", "sand_mask", "fish", "sam", "sagm"])
def test_weights_that_do_not_train_are_left_alone(name):
    algorithm, batch = small(name)
    algorithm.classifier.backbone.requires_grad_(False)
    before = copy.deepcopy(algorithm.classifier.state_dict())
    torch.manual_seed(0)
    algorithm.update(algorithm, batch, torch.Tensor.backward)
    assert all(weight.grad is None for weight in algorithm.classifier.backbone.parameters())
    assert algorithm.classifier.objective.head.weight.grad.abs().sum() > 0
    assert all(torch.equal(value, before[key]) for key, value in algorithm.classifier.state_dict().items())


@pytest.mark.parametrize("name", ["and_mask", "sand_mask"])
def test_a_single_domain_agrees_with_itself(name):
    algorithm, batch = small(name)
    alone = batch._replace(domains=torch.zeros(12, dtype=torch.int64))
    expected = gradient(algorithm.classifier(batch.inputs, batch.targets), algorithm)
    # The share of what is kept, 1, is divided by with 1e-10 added.
    torch.testing.assert_close(updated(algorithm, alone), expected / (1 + 1e-10), rtol=2e-12, atol=1e-15)


def test_the_mask_of_two_domains_by_hand():
    gradients = torch.tensor([[1.0, 2.0, 0.5], [3.0, -2.0, 0.5]], dtype=torch.float64)
    assert small("and_mask", agreement=1.0)[0].mask(gradients).tolist() == [1, 0, 1]
    found = small("sand_mask", agreement=0.25, steepness=0.5)[0].mask(gradients)
    # (1 - 0.25) * 0.5 / 2 (the variance of 1 and 3); the signs of the second disagree; the third does not vary
    assert found.tolist() == pytest.approx([math.tanh(0.1875), 0.0, 1.0])


def test_a_way_up_without_a_gradient_ends_where_it_starts():
    algorithm, batch = small("sam")
    algorithm.classifier.requires_grad_(True)
    found = algorithm.update(lambda each: {"objective": 0 * algorithm(each)["objective"]}, batch, torch.Tensor.backward)
    assert found["objective"] == 0
    assert all(weight.grad.abs().sum() == 0 for weight in algorithm.classifier.parameters())


def test_the_second_pass_of_sam_leaves_batch_statistics_alone():
    torch.manual_seed(0)
    objective = Objective(LinearHead(32, 3), {"cross_entropy": 1.0})
    classifier = Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    plain, sam = ERM(copy.deepcopy(classifier), [6]), small("sam")[0].__class__(classifier, [6], radius=5.0)
    batch = Batch(torch.rand(6, 3, 8, 8), torch.arange(6) % 3, torch.zeros(6).long(), torch.arange(6), 0.0)
    for algorithm in (plain, sam):
        algorithm.train().update(algorithm, batch, torch.Tensor.backward)
    found = dict(sam.classifier.named_buffers())
    for name, buffer in plain.classifier.named_buffers():
        torch.testing.assert_close(found[name], buffer)
    assert any(isinstance(module, nn.BatchNorm2d) for module in classifier.modules())


def test_the_plain_average_of_weights_starts_after_its_share_of_the_steps():
    algorithm, _ = small("erm")
    start = algorithm.classifier.objective.head.bias.detach().clone()
    averaging = SMA(algorithm, start=0.3)
    found = [(bias - start)[0].item() for bias in stepped(averaging, 10)]
    # after steps 1 to 3 the current weights; then the means of 4, of 4 and 5, ...
    assert found == pytest.approx([1, 2, 3, 4, 4.5, 5, 5.5, 6, 6.5, 7])
