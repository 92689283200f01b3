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
