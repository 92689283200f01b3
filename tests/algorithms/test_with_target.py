"""Algorithms that train with unlabeled images of the new place, against what is computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms import CDAN, DANN, MCC, MCD, MMD, Algorithm, Batch, DeepCORAL
from afield.algorithms.cdan import OuterProduct, RandomProduct
from afield.algorithms.coral import coral_distance
from afield.algorithms.mcc import class_confusion
from afield.algorithms.mcd import discrepancy
from afield.algorithms.mmd import multi_kernel_mmd
from afield.algorithms.parts.discriminator import Discriminator
from afield.algorithms.parts.random_objective import random_objective
from afield.algorithms.parts.target import entropy, features_of_both
from afield.classifier import Classifier
from afield.heads import ArcFaceHead, LinearHead
from afield.objective import Objective

KINDS = (CDAN, DANN, DeepCORAL, MCC, MCD, MMD)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(kind: type[Algorithm], progress: float = 0.3, **options: float) -> tuple[Algorithm, Batch]:
    """An algorithm around a linear backbone of 5 features and a head of 3 classes, and 8 examples of each side."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    objective = Objective(LinearHead(5, 3), {"cross_entropy": 1.0})
    classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=0.0)
    algorithm = kind(classifier, [4, 4], **options).double().eval()
    inputs, target = torch.rand(2, 8, 3, 2, 2, generator=generator(1), dtype=torch.float64)
    return algorithm, Batch(inputs, torch.arange(8) % 3, torch.arange(8) % 2, torch.arange(8), progress, target + 0.5)


def gradient_of_backbone(algorithm: Algorithm, loss: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, algorithm.classifier.backbone[1].weight, retain_graph=True)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_objective_is_that_of_erm_and_no_label_of_the_target_is_there(kind):
    algorithm, batch = make(kind)
    terms = algorithm(batch)
    torch.testing.assert_close(terms["objective"], algorithm.classifier(batch.inputs, batch.targets))
    assert kind.uses_target
    other = batch._replace(target=batch.target.flip(0))
    for name, term in algorithm(other).items():  # each depends on the set of target examples, not on their order
        torch.testing.assert_close(term, terms[name])


def test_both_sides_go_through_the_backbone_together():
    algorithm, batch = make(DANN)
    seen = []
    algorithm.classifier.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    source, target = features_of_both(algorithm.classifier, batch)
    assert seen == [16]
    torch.testing.assert_close(source, algorithm.classifier.features(batch.inputs))
    torch.testing.assert_close(target, algorithm.classifier.features(batch.target))


def test_entropy_is_that_of_the_prediction():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [1000.0, 0.0]], dtype=torch.float64)
    expected = [math.log(2), -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)), 0.0]
    assert entropy(logits).tolist() == pytest.approx(expected)


def test_a_discriminator_loses_by_binary_cross_entropy_and_its_inputs_get_the_reversed_gradient():
    torch.manual_seed(0)
    network = Discriminator(4, 6).double().eval()
    sides = (torch.randn(count, 4, generator=generator(count), dtype=torch.float64) for count in (3, 5))
    source, target = (side.requires_grad_() for side in sides)
    losses = torch.cat(network.losses(source, target, 0.25))
    plain = F.binary_cross_entropy_with_logits(
        network(torch.cat([source, target])), torch.tensor([1.0] * 3 + [0.0] * 5, dtype=torch.float64), reduction="none"
    )
    torch.testing.assert_close(losses, plain)
    found = torch.autograd.grad(losses.sum(), [source, target, *network.parameters()])
    expected = torch.autograd.grad(plain.sum(), [source, target, *network.parameters()])
    for reversed_one, one in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(reversed_one, -0.25 * one)
    for same, one in zip(found[2:], expected[2:], strict=True):
        torch.testing.assert_close(same, one)


@pytest.mark.parametrize("kind", [DANN, CDAN])
@pytest.mark.parametrize(("progress", "factor"), [(0.0, 0.0), (0.1, 0.46211715726), (0.5, 0.98661429815)])
def test_the_reversal_follows_the_schedule_of_the_paper(kind, progress, factor):
    """2 / (1 + exp(-10 p)) - 1 at p = 0, 0.1 and 0.5."""
    full, batch = make(kind, progress=1e9, adversary=1.0)
    part, _ = make(kind, adversary=2.0)
    expected = gradient_of_backbone(full, full(batch)["domain"])
    found = gradient_of_backbone(part, part(batch._replace(progress=progress))["domain"])
    torch.testing.assert_close(found, 2 * factor * expected)
    assert expected.abs().sum() > 0


def test_dann_averages_the_losses_of_both_sides():
    algorithm, batch = make(DANN)
    logits = algorithm.discriminator(torch.cat(features_of_both(algorithm.classifier, batch)))
    sides = torch.tensor([1.0] * 8 + [0.0] * 8, dtype=torch.float64)
    torch.testing.assert_close(algorithm(batch)["domain"], F.binary_cross_entropy_with_logits(logits, sides))


def test_the_outer_product_has_each_feature_times_each_probability():
    found = OuterProduct()(torch.tensor([[2.0, 3.0, 5.0]]), torch.tensor([[0.25, 0.75]]))
    assert found.tolist() == [[0.5, 0.75, 1.25, 1.5, 2.25, 3.75]]


def test_random_projections_keep_inner_products_of_outer_products_on_average():
    torch.manual_seed(0)
    product = RandomProduct(6, 3, 200_000).double()
    features = torch.randn(2, 6, generator=generator(0), dtype=torch.float64)
    probabilities = torch.randn(2, 3, generator=generator(1), dtype=torch.float64).softmax(dim=1)
    small, large = product(features, probabilities), OuterProduct()(features, probabilities)
    assert small.shape == (2, 200_000)
    torch.testing.assert_close(small @ small.T, large @ large.T, rtol=0.05, atol=0.02)


def test_cdan_sees_projections_where_the_outer_product_is_too_large():
    def product_of(features: int) -> tuple[nn.Module, int]:
        objective = Objective(LinearHead(features, 8), {"cross_entropy": 1.0})
        classifier = Classifier(nn.Identity(), objective, mean=(0,) * 3, std=(1,) * 3, dropout=0.0)
        algorithm = CDAN(classifier, [1])
        return type(algorithm.product), algorithm.discriminator.layers[0].in_features

    assert product_of(512) == (OuterProduct, 4096)
    assert product_of(513) == (RandomProduct, 1024)


def test_cdan_counts_each_example_by_its_certainty_on_each_side():
    algorithm, batch = make(CDAN)
    sides = []
    for inputs, sign in ((batch.inputs, -1), (batch.target, 1)):
        features = algorithm.classifier.features(inputs).detach().numpy()
        p = algorithm.classifier.logits(inputs).softmax(dim=1).detach().numpy()
        seen = np.stack([np.outer(row, feature).ravel() for row, feature in zip(p, features, strict=True)])
        logits = algorithm.discriminator(torch.from_numpy(seen)).detach().numpy()
        weights = 1 + np.exp((p * np.log(p)).sum(axis=1))
        sides.append((weights * np.log1p(np.exp(sign * logits))).sum() / weights.sum())
    assert float(algorithm(batch)["domain"].detach()) == pytest.approx(sum(sides) / 2, rel=1e-10)


def test_the_discrepancy_of_two_heads_by_hand():
    first = torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]).log()
    second = torch.tensor([[0.25, 0.25, 0.5], [1 / 3, 1 / 3, 1 / 3]]).log()
    assert float(discrepancy(first, second)) == pytest.approx((0.25 + 0.25) / 6)
    assert discrepancy(first, first + 7) == pytest.approx(0, abs=1e-7)


def test_the_heads_of_mcd_part_on_the_target_and_the_backbone_brings_them_together():
    algorithm, batch = make(MCD, discrepancy=0.5)
    heads = [algorithm.classifier.objective.head.weight, algorithm.second.head.weight]
    terms = algorithm(batch)
    features = algorithm.classifier.features(batch.target)
    apart = discrepancy(algorithm.classifier.objective.logits(features), algorithm.second.logits(features))
    torch.testing.assert_close(terms["discrepancy"], -0.5 * apart)
    found = torch.autograd.grad(terms["discrepancy"], heads, retain_graph=True)
    for mine, plain in zip(found, torch.autograd.grad(apart, heads, retain_graph=True), strict=True):
        torch.testing.assert_close(mine, -0.5 * plain)
    backward = gradient_of_backbone(algorithm, terms["discrepancy"])
    torch.testing.assert_close(backward, 0.5 * gradient_of_backbone(algorithm, apart))
    source = algorithm.classifier.features(batch.inputs)
    torch.testing.assert_close(terms["second"], algorithm.second(source, batch.targets))


def test_a_second_head_differs_in_its_matrices_alone_and_by_the_seed_alone():
    torch.manual_seed(0)
    objective = Objective(ArcFaceHead(64, 50), {"cross_entropy": 1.0})
    torch.manual_seed(1)
    first = random_objective(objective)
    torch.manual_seed(1)
    assert torch.equal(random_objective(objective).head.weight, first.head.weight)
    weight, other = objective.head.weight, first.head.weight
    assert float(other.std()) == pytest.approx(float(weight.std()), rel=0.05)
    assert abs(float(F.cosine_similarity(weight.flatten(), other.flatten(), dim=0))) < 0.1
    linear = Objective(LinearHead(4, 3), {"cross_entropy": 1.0})
    assert torch.equal(random_objective(linear).head.bias, linear.head.bias)


def test_class_confusion_by_hand():
    """Two examples of two classes at temperature 2.5, worked out with numpy."""
    p = np.array([[0.8, 0.2], [0.4, 0.6]])
    weights = 1 + np.exp((p * np.log(p)).sum(axis=1))
    weights *= 2 / weights.sum()
    pairs = sum(w * np.outer(row, row) for w, row in zip(weights, p, strict=True))
    rows = pairs / pairs.sum(axis=1, keepdims=True)
    expected = (rows[0, 1] + rows[1, 0]) / 2
    logits = 2.5 * torch.from_numpy(p).log() + 3
    assert float(class_confusion(logits, 2.5)) == pytest.approx(expected, rel=1e-12)


def test_class_confusion_is_0_for_certain_predictions_and_largest_where_nothing_is_known():
    certain = 100 * F.one_hot(torch.tensor([0, 1, 2, 1]), 3).double()
    assert float(class_confusion(certain, 1.0)) == pytest.approx(0, abs=1e-12)
    assert float(class_confusion(torch.zeros(4, 3), 1.0)) == pytest.approx(2 / 3)
    logits = torch.randn(6, 3, generator=generator(0), dtype=torch.float64)
    assert torch.isfinite(class_confusion(1e4 * logits, 2.5))


def test_no_gradient_of_class_confusion_goes_through_the_weights():
    logits = torch.randn(5, 3, generator=generator(0), dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(class_confusion(logits, 2.5), logits)
    still = (1 + (-entropy(logits / 2.5)).exp()).detach()
    p = (logits / 2.5).softmax(dim=1)
    pairs = (still[:, None] * p).T @ p
    (expected,) = torch.autograd.grad(-(pairs.diagonal() / pairs.sum(dim=1)).mean(), logits)
    torch.testing.assert_close(found, expected)


def test_mcc_confuses_classes_of_the_target_by_its_factor():
    algorithm, batch = make(MCC, confusion=2.0, temperature=1.5)
    expected = 2 * class_confusion(algorithm.classifier.logits(batch.target), 1.5)
    torch.testing.assert_close(algorithm(batch)["confusion"], expected)


def test_mmd_of_several_kernels_against_numpy():
    source = torch.randn(4, 3, generator=generator(0), dtype=torch.float64)
    target = torch.randn(6, 3, generator=generator(1), dtype=torch.float64) + 1
    both = torch.cat([source, target]).numpy()
    squares = ((both[:, None] - both) ** 2).sum(axis=2)
    mean = squares[~np.eye(10, dtype=bool)].mean()
    kernel = sum(np.exp(-squares / (scale * mean)) for scale in (0.25, 0.5, 1, 2, 4)) / 5
    expected = kernel[:4, :4].mean() + kernel[4:, 4:].mean() - 2 * kernel[:4, 4:].mean()
    assert float(multi_kernel_mmd(source, target)) == pytest.approx(expected, rel=1e-12)


def test_mmd_is_0_for_equal_sets_grows_with_the_distance_and_does_not_depend_on_the_unit():
    features = torch.randn(5, 3, generator=generator(0), dtype=torch.float64)
    assert abs(float(multi_kernel_mmd(features, features.flip(0)))) < 1e-12
    found = [float(multi_kernel_mmd(features, features + shift)) for shift in (0.5, 1.0, 5.0)]
    assert found == sorted(found)
    assert float(multi_kernel_mmd(10 * features, 10 * (features + 1.0))) == pytest.approx(found[1])
    same = torch.ones(3, 2, requires_grad=True)
    multi_kernel_mmd(same, same.detach()).backward()
    assert same.grad.isfinite().all()


def test_mmd_is_weighted_by_its_penalty():
    algorithm, batch = make(MMD, penalty=3.0)
    source, target = features_of_both(algorithm.classifier, batch)
    torch.testing.assert_close(algorithm(batch)["mmd"], 3 * multi_kernel_mmd(source, target))


def test_deep_coral_has_the_target_as_one_more_domain():
    algorithm, batch = make(DeepCORAL, penalty=2.0)
    source, target = features_of_both(algorithm.classifier, batch)
    expected = 2 * coral_distance(torch.cat([source, target]), torch.cat([batch.domains, torch.full((8,), 2)]))
    torch.testing.assert_close(algorithm(batch)["coral"], expected)
    alone = batch._replace(domains=torch.zeros(8, dtype=torch.int64))
    assert algorithm(alone)["coral"] > 0


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (DANN, {"adversary": -1.0}),
        (CDAN, {"adversary": float("nan")}),
        (MCD, {"discrepancy": -1.0}),
        (MCC, {"confusion": -1.0}),
        (MCC, {"temperature": 0.0}),
        (MMD, {"penalty": -0.1}),
        (DeepCORAL, {"penalty": -0.1}),
    ],
)
def test_an_option_out_of_bounds_is_an_error(kind, options):
    with pytest.raises(ValueError, match="got"):
        make(kind, **options)
