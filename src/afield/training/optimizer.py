"""Creation of the optimizer from the training settings."""

from typing import Any

import torch
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
from torch import nn

from afield.algorithms import Algorithm
from afield.errors import InputError
from afield.settings import TrainConfig
from afield.training.sparse_sgd import SparseSGD

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def build_optimizer(algorithm: Algorithm, training: TrainConfig) -> torch.optim.Optimizer:
    """Create an optimizer whose parameter groups have a ``rate``, a factor on the scheduled learning rate.

    Raises:
        InputError: if the head samples its classes and the optimizer does not support sparse gradients.
    """
    groups, name, rate = parameter_groups(algorithm, training), training.optimizer, training.learning_rate
    if name in ("sgd", "nesterov"):
        return SparseSGD(groups, rate, momentum=training.momentum, nesterov=name == "nesterov")
    if any(getattr(module, "sparse_gradients", False) for module in algorithm.modules()):
        raise InputError(f"--optimizer {name} does not support the sparse gradients of a sampled head; use sgd")
    if name == "adamw":
        return torch.optim.AdamW(groups, rate, betas=(training.momentum, 0.999))
    return create_optimizer_v2(groups, opt=name, lr=rate, momentum=training.momentum)


def parameter_groups(model: nn.Module, training: TrainConfig) -> list[dict[str, Any]]:
    """The trainable parameters. Biases of normalization layers form a separate group if their rate differs.

    The weight decay of this group is divided by its rate factor, so that a step shrinks all parameters equally.

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
