"""MMLD: clusters of style, their numbers, reversed gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms import MMLD, Batch
from afield.algorithms.mmld import mean_entropy, styles_of
from afield.algorithms.parts.clusters import cluster, renumbered
from afield.algorithms.parts.reversal import ramp, scaled_gradient
from afield.classifier import Classifier
from afield.errors import InputError
from afield.heads import ArcFaceHead, LinearHead
from afield.models import ResNet8
from afield.objective import Objective

SIZES = [12, 18]
STYLES = torch.tensor([0] * 10 + [1] * 15 + [2] * 5)
"""Which of three brightnesses each of the 30 images has: not the domains."""


def make(head=LinearHead, **options) -> MMLD:
    torch.manual_seed(0)
    objective = Objective(head(32, 3), {"cross_entropy": 1.0})
    classifier = Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    return MMLD(classifier, SIZES, **{"clusters": 3, **options})


def images() -> torch.Tensor:
    noise = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return 0.1 * noise + 0.4 * STYLES[:, None, None, None]


def batches(progress=0.5):
    """All examples in order, in three batches."""
    for indices in torch.arange(30).split(10):
        domains = (indices >= 12).long()
        yield Batch(images()[indices], indices % 3, domains, indices, progress)


def a_batch(progress=0.5) -> Batch:
    indices = torch.arange(0, 30, 2)
    return Batch(images()[indices], indices % 3, (indices >= 12).long(), indices, progress)


# Clusters


def test_clusters_are_the_groups_that_lie_apart():
    torch.manual_seed(0)
    centers = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    vectors = centers[STYLES] + 0.3 * torch.randn(30, 2)
    found = cluster(vectors, 3)
    assert all(len(found[style == STYLES].unique()) == 1 for style in range(3))
    assert len(found.unique()) == 3


def test_clusters_are_drawn_from_the_global_generator():
    vectors = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    first, second = ([torch.manual_seed(seed), cluster(vectors, 4)][1] for seed in (1, 1))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("before", "found", "expected"),
    [
        ([0, 0, 1, 1, 2, 2], [2, 2, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2]),
        ([0, 0, 0, 1, 1, 2], [1, 1, 0, 0, 0, 2], [0, 0, 1, 1, 1, 2]),
        ([0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]),
        # Greedy matching would give 0 its three first, and keep three in all; this keeps four.
        ([0, 0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 0, 0]),
    ],
)
def test_clusters_are_numbered_so_that_most_examples_stay(before, found, expected):
    count = 1 + max(found)
    numbered = renumbered(torch.tensor(found), torch.tensor(before), count)
    assert numbered.tolist() == expected


def test_the_style_of_an_image_is_mean_and_deviation_of_early_channels():
    algorithm = make()
    classifier = algorithm.classifier.eval()
    inputs = images()[:7]
    found = styles_of(classifier, inputs, 2)
    with torch.no_grad():
        first = classifier.backbone.stages[0](classifier.backbone.stem((inputs - 0.5) / 0.5))
        second = classifier.backbone.stages[1](first)
    expected = [
        statistic
        for maps in (first, second)
        for statistic in (maps.mean(dim=(2, 3)), (maps.flatten(2).var(dim=2) + 1e-5).sqrt())
    ]
    torch.testing.assert_close(found, torch.cat(expected, dim=1))
    assert found.shape == (7, 2 * (8 + 16))
    assert all(not module._forward_hooks for module in classifier.modules())


def test_each_epoch_assigns_every_image_to_its_style_and_numbers_stay():
    algorithm = make().train()
    state = {name: value.clone() for name, value in algorithm.classifier.state_dict().items()}
    assert algorithm.clusters.tolist() == [0] * 30
    torch.manual_seed(1)
    algorithm.start_epoch(batches)
    first = algorithm.clusters.clone()
    assert all(len(first[style == STYLES].unique()) == 1 for style in range(3))
    assert first[STYLES == 1].unique() == 0  # the largest shares most with the single cluster there was
    for seed in range(4):
        torch.manual_seed(seed)
        algorithm.start_epoch(batches)
        assert torch.equal(algorithm.clusters, first)
    assert algorithm.classifier.training
    assert all(torch.equal(value, state[name]) for name, value in algorithm.classifier.state_dict().items())


@pytest.mark.parametrize(("sizes", "clusters", "expected"), [([9, 9], None, 2), ([9] * 4, None, 4), ([18], None, 3)])
def test_there_are_as_many_clusters_as_domains_or_three(sizes, clusters, expected):
    algorithm = MMLD(make().classifier, sizes, clusters=clusters)
    assert algorithm.count == algorithm.domain_classifier[-1].out_features == expected


# What is minimized


def test_a_gradient_is_reversed_and_scaled():
    x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    reversed_x = scaled_gradient(x, -0.5)
    assert torch.equal(reversed_x, x)
    (reversed_x**2).sum().backward()
    torch.testing.assert_close(x.grad, -0.5 * 2 * x.detach())


def test_the_ramp_begins_at_0_and_ends_at_1():
    assert ramp(0.0) == 0
    assert ramp(0.1) == pytest.approx((1 - math.exp(-1)) / (1 + math.exp(-1)))
    assert ramp(1.0) == pytest.approx(1, abs=1e-4)


def test_the_entropy_by_hand():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [math.log(3.0), 0.0, -100.0, -100.0]])
    skewed = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(mean_entropy(logits)) == pytest.approx((math.log(4) + skewed) / 2)


def test_the_terms_by_hand():
    algorithm, batch = make(entropy=0.7).double().eval(), a_batch(progress=0.3)
    algorithm.clusters.copy_(STYLES)
    batch = batch._replace(inputs=batch.inputs.double())
    terms = algorithm(batch)
    features = algorithm.classifier.features(batch.inputs)
    logits = algorithm.classifier.objective.logits(features)
    probabilities = logits.softmax(1)
    entropy = -(probabilities * probabilities.log()).sum(1).mean()
    torch.testing.assert_close(terms["objective"], F.cross_entropy(logits, batch.targets))
    torch.testing.assert_close(terms["entropy"], 0.7 * ramp(0.3) * entropy)
    weights = torch.tensor([1 / 10, 1 / 15, 1 / 5], dtype=torch.float64)
    guesses = algorithm.domain_classifier(features)
    torch.testing.assert_close(terms["domain"], F.cross_entropy(guesses, STYLES[batch.indices], weight=weights))


def gradients_of_domain(algorithm: MMLD, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the domain term: by the backbone's first convolution, and by the domain classifier's last layer."""
    algorithm.zero_grad()
    algorithm(batch)["domain"].backward()
    return algorithm.classifier.backbone.stem[0].weight.grad, algorithm.domain_classifier[-1].weight.grad


def test_the_backbone_is_led_away_from_what_the_domain_classifier_learns():
    """A small step along the gradient that each is given: the one raises the loss of domains, the other lowers it."""
    algorithm, batch = make().double().eval(), a_batch()
    batch = batch._replace(inputs=batch.inputs.double())
    algorithm.clusters.copy_(STYLES)
    before = float(algorithm(batch)["domain"].detach())
    for parameter, sign in zip(
        (algorithm.classifier.backbone.stem[0].weight, algorithm.domain_classifier[-1].weight), (1, -1), strict=True
    ):
        gradients_of_domain(algorithm, batch)
        gradient = parameter.grad.clone()
        with torch.no_grad():
            parameter -= 1e-4 * gradient
        after = float(algorithm(batch)["domain"].detach())
        with torch.no_grad():
            parameter += 1e-4 * gradient
        assert np.sign(after - before) == sign


def test_features_cannot_deceive_by_their_length():
    network = make().domain_classifier.eval()
    features = torch.randn(3, network[1].in_features)
    torch.testing.assert_close(network(1000 * features), network(features))


def test_the_reversal_grows_with_progress_and_the_domain_classifier_learns_from_the_start():
    algorithm = make(adversary=2.0).double().eval()
    algorithm.clusters.copy_(STYLES)
    found = {}
    for progress in (0.0, 0.2, 0.9):
        batch = a_batch(progress)
        found[progress] = gradients_of_domain(algorithm, batch._replace(inputs=batch.inputs.double()))
    assert not found[0.0][0].any()
    torch.testing.assert_close(found[0.2][0] / ramp(0.2), found[0.9][0] / ramp(0.9))
    torch.testing.assert_close(found[0.0][1], found[0.9][1])
    plain = make().double().eval()
    plain.clusters.copy_(STYLES)
    batch = a_batch()._replace(inputs=a_batch().inputs.double())
    guesses = plain.domain_classifier(plain.classifier.features(batch.inputs))
    (true,) = torch.autograd.grad(plain.domain_loss(guesses, batch.indices), plain.classifier.backbone.stem[0].weight)
    torch.testing.assert_close(found[0.9][0], -2 * ramp(0.9) * true)


def test_domain_labels_change_nothing_and_one_domain_is_enough():
    torch.manual_seed(0)
    objective = Objective(ArcFaceHead(32, 3), {"cross_entropy": 1.0})
    classifier = Classifier(ResNet8(width=8), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    algorithm = MMLD(classifier, [30]).eval()
    torch.manual_seed(0)
    algorithm.start_epoch(batches)
    assert len(algorithm.clusters.unique()) == 3
    terms, others = (algorithm(a_batch()._replace(domains=domains)) for domains in (torch.zeros(15), torch.ones(15)))
    assert all(torch.equal(terms[name], others[name]) for name in terms)


@pytest.mark.parametrize(
    "options", [{"clusters": 1}, {"clusters": 31}, {"stages": 0}, {"stages": 4}, {"adversary": -1.0}, {"entropy": -0.1}]
)
def test_options_out_of_bounds_are_errors_that_say_what_they_got(options):
    with pytest.raises(ValueError, match="got"):
        make(**options)


def test_a_backbone_without_stages_is_refused():
    objective = Objective(LinearHead(4, 3), {"cross_entropy": 1.0})
    classifier = Classifier(nn.Linear(4, 4), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    with pytest.raises(InputError, match="backbone Linear has fewer than two stages with feature maps"):
        MMLD(classifier, SIZES)
