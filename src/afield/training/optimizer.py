"""The optimizer that the settings name, over an algorithm's parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from afield.algorithms import Algorithm
from afield.errors import InputError
from afield.training.config import TrainConfig
from afield.training.sparse_sgd import SparseSGD

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def build_optimizer(algorithm: Algorithm, training: TrainConfig) -> torch.optim.Optimizer:
    """An optimizer in whose groups ``rate`` is what the learning rate of the schedule is multiplied by.

    Raises:
        InputError: AdamW for the sparse gradients of a sampled head.
    """
    groups = parameter_groups(algorithm, training)
    if training.optimizer == "adamw":
        if any(getattr(module, "sparse_gradients", False) for module in algorithm.modules()):
            raise InputError("--optimizer adamw does not take the sparse gradients of a sampled head; sgd does")
        return torch.optim.AdamW(groups, training.learning_rate, betas=(training.momentum, 0.999))
    nesterov = training.optimizer == "nesterov"
    return SparseSGD(groups, training.learning_rate, momentum=training.momentum, nesterov=nesterov)


def parameter_groups(model: nn.Module, training: TrainConfig) -> list[dict[str, Any]]:
    """The parameters that train, those of a ``norm_bias_rate`` of their own apart.

    The weight decay of the latter is divided by the factor: a step shrinks every parameter by the same share.

    References:
        Page, "How to Train Your ResNet 8: Bag of Tricks", 2019.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    everything = {"params": trained, "rate": 1.0, "weight_decay": training.weight_decay}
    factor = training.norm_bias_rate
    biases = {id(module.bias) for module in model.modules() if isinstance(module, NORMS)}
    apart = [parameter for parameter in trained if id(parameter) in biases]
    if factor == 1 or not apart:
        return [everything]
    rest = [parameter for parameter in trained if id(parameter) not in biases]
    return [
        everything | {"params": rest},
        {"params": apart, "rate": factor, "weight_decay": training.weight_decay / factor},
    ]
