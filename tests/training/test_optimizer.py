"""Parameter groups of the optimizer."""

from __future__ import annotations

import pytest

from afield.algorithms import ERM
from afield.training import TrainConfig
from afield.training.optimizer import build_optimizer
from tests.classifiers import small_classifier


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adamw"])
def test_biases_of_normalization_have_a_rate_of_their_own_and_shrink_as_fast(optimizer):
    classifier = small_classifier()
    training = TrainConfig(optimizer=optimizer, learning_rate=0.5, norm_bias_rate=64.0, weight_decay=0.064)
    rest, biases = build_optimizer(ERM(classifier, [12]), training).param_groups
    assert [p is classifier.backbone[1].bias for p in biases["params"]] == [True]
    assert len(rest["params"]) == 5
    assert (rest["rate"], biases["rate"]) == (1.0, 64.0)
    assert (rest["weight_decay"], biases["weight_decay"]) == (0.064, 0.001)
    (plain,) = build_optimizer(ERM(classifier, [12]), TrainConfig(optimizer=optimizer)).param_groups
    assert len(plain["params"]) == 6


def test_layers_of_the_backbone_learn_the_slower_the_earlier_they_are():
    classifier = small_classifier()  # a linear layer, batch normalization, tanh, and the head
    training = TrainConfig(layer_decay=0.5, norm_bias_rate=4.0, weight_decay=0.08)
    groups = build_optimizer(ERM(classifier, [12]), training).param_groups
    linear, norm, head = classifier.backbone[0], classifier.backbone[1], classifier.objective.head
    expected = {
        1.0: ([*head.parameters()], 0.08),
        0.5: ([norm.weight], 0.08),
        2.0: ([norm.bias], 0.02),
        0.25: ([*linear.parameters()], 0.08),
    }
    assert {group["rate"] for group in groups} == expected.keys()
    for group in groups:
        parameters, decay = expected[group["rate"]]
        assert {*map(id, group["params"])} == {*map(id, parameters)}
        assert group["weight_decay"] == decay
