"""Algorithms that add what a domain's examples have in common to each of them: ARM and MTL."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms import ARM, Batch
from afield.algorithms.arm import support_sets
from afield.algorithms.parts.group_means import group_means
from afield.classifier import Classifier
from afield.errors import InputError
from afield.heads import LinearHead
from afield.objective import Objective
from tests.algorithms.small import DOMAINS, TARGETS, gradient, small


def test_the_means_of_groups_by_hand():
    values = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 60.0]], dtype=torch.float64, requires_grad=True)
    groups = torch.tensor([1, 0, 1])
    assert group_means(values, groups).tolist() == [[2.0, 20.0], [2.5, 35.0]]
    maps = torch.arange(24.0).view(3, 2, 2, 2)
    assert torch.equal(group_means(maps, groups), torch.stack([maps[1], (maps[0] + maps[2]) / 2]))
    assert torch.autograd.gradcheck(lambda x: group_means(x, groups), (values,))


# ARM


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, [0, 4, 1, 2, 5, 3]), (2, [0, 2, 0, 1, 2, 1]), (3, [0, 2, 0, 0, 2, 1]), (4, [0, 1, 0, 0, 1, 0])],
)
def test_support_sets_have_consecutive_examples_of_one_domain(size, expected):
    domains = torch.tensor([2, 5, 2, 2, 5, 2])
    assert support_sets(domains, size).tolist() == expected


def arm(**options: int) -> tuple[ARM, Batch]:
    """ARM in float64 around a linear backbone of images of 4 x 4 pixels, and 12 of them in three domains."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Tanh())
    objective = Objective(LinearHead(5, 3), {"cross_entropy": 1.0})
    classifier = Classifier(backbone, objective, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2), dropout=0.0)
    images = torch.rand(12, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    algorithm = ARM(classifier, [4, 4, 4], **{"width": 4, **options}).double()
    return algorithm, Batch(images, TARGETS, DOMAINS, torch.arange(12), 0.9)


def test_the_objective_of_arm_by_hand():
    algorithm, batch = arm(support=3)
    terms = algorithm(batch)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in ((0.5, 0.4, 0.3), (0.5, 0.25, 0.2)))
    normalized = (batch.inputs - mean) / std
    maps = algorithm.context(normalized)
    seen = normalized.clone()
    for domain in range(3):
        rows = [row for row in range(12) if DOMAINS[row] == domain]
        for support in (rows[:3], rows[3:]):
            for row in support:
                seen[row] += sum(maps[other] for other in support) / len(support) - maps.mean(dim=0)
    logits = algorithm.classifier.objective.head(algorithm.classifier.backbone(seen))
    expected = F.cross_entropy(logits, TARGETS)
    assert list(terms) == ["objective"]
    torch.testing.assert_close(terms["objective"], expected)
    torch.testing.assert_close(gradient(terms["objective"], algorithm), gradient(expected, algorithm))
    slopes = torch.autograd.grad(terms["objective"], list(algorithm.context.parameters()))
    # The bias before a normalization, and that of the last layer, which is the same for all images, have no effect.
    assert [bool(slope.abs().sum() > 1e-9) for slope in slopes] == [True, False, True, True] * 2 + [True, False]


def test_the_context_of_a_single_support_set_is_zero_as_in_predictions():
    algorithm, batch = arm(support=12)
    alone = batch._replace(domains=torch.zeros(12, dtype=torch.int64))
    torch.testing.assert_close(algorithm(alone)["objective"], algorithm.classifier(batch.inputs, TARGETS))
    assert algorithm(batch)["objective"] != algorithm(alone)["objective"]
    assert algorithm.predictor() is algorithm.classifier


def test_layers_of_the_context_network():
    layers = list(ARM(arm()[0].classifier, [6, 6]).context)
    kinds = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert [type(layer) for layer in layers] == [*2 * kinds, nn.Conv2d]
    assert [(layer.kernel_size, layer.padding) for layer in layers[::3]] == [((5, 5), (2, 2))] * 3


@pytest.mark.parametrize("option", ["support", "width"])
@pytest.mark.parametrize("value", [0, 10_001, 2.0])
def test_a_size_out_of_range_is_refused(option, value):
    with pytest.raises(InputError, match=rf"{option} must be a whole number between 1 and 10000, got {value}"):
        arm(**{option: value})


@pytest.mark.parametrize("value", [1, 10_000])
def test_the_ends_of_the_range_of_support_sets_are_allowed(value):
    assert arm(support=value)[0].support == value


# MTL


def test_the_objective_of_mtl_and_its_embeddings_by_hand():
    algorithm, batch = small("mtl", decay=0.25)
    followed = torch.zeros(3, 5, dtype=torch.float64)
    weight, head = algorithm.context.weight, algorithm.classifier.objective.head
    for factor in (1.0, -0.5):
        inputs = factor * batch.inputs
        terms = algorithm(batch._replace(inputs=inputs))
        features = algorithm.classifier.features(inputs)
        rows = [[row for row in range(12) if DOMAINS[row] == domain] for domain in range(3)]
        means = torch.stack([sum(features[row] for row in own) / 4 for own in rows])
        followed = 0.25 * followed.detach() + 0.75 * means
        torch.testing.assert_close(algorithm.embeddings, followed.detach())
        assert not algorithm.embeddings.requires_grad
        # a head on the features and the embedding, with weights [W, W V]
        centered = followed - (followed[0] + followed[1] + followed[2]) / 3
        both = torch.cat([features, centered[DOMAINS]], dim=1)
        logits = F.linear(both, torch.cat([head.weight, head.weight @ weight], dim=1), head.bias)
        expected = F.cross_entropy(logits, TARGETS)
        assert list(terms) == ["objective"]
        torch.testing.assert_close(terms["objective"], expected)
        torch.testing.assert_close(gradient(terms["objective"], algorithm), gradient(expected, algorithm))
        slopes = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in (terms["objective"], expected)]
        torch.testing.assert_close(*slopes)
        assert slopes[0].abs().sum() > 0


def test_mtl_predicts_with_the_mean_embedding_and_one_domain_has_no_other():
    algorithm, batch = small("mtl")
    alone = batch._replace(domains=torch.ones(12, dtype=torch.int64))
    expected = algorithm.classifier(batch.inputs, TARGETS)
    torch.testing.assert_close(algorithm(alone)["objective"], expected)
    assert algorithm.embeddings[[0, 2]].eq(0).all()
    assert algorithm(batch)["objective"] != expected
    assert algorithm.predictor() is algorithm.classifier


def test_features_of_mtl_are_dropped_and_the_embedding_is_not():
    algorithm, batch = small("mtl")
    algorithm.classifier.dropout.forward = torch.zeros_like
    expected = algorithm.context(algorithm.classifier.features(batch.inputs).view(4, 3, 5).mean(dim=0)) * 0.99
    logits = algorithm.classifier.objective.head((expected - expected.mean(dim=0))[DOMAINS])
    torch.testing.assert_close(algorithm(batch)["objective"], F.cross_entropy(logits, TARGETS))
