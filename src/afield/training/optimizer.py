"""Creation of the optimizer from the training settings."""

from typing import Any

import torch
from torch import nn

from afield.algorithms import Algorithm
from afield.errors import InputError
from afield.models import layers
from afield.settings import TrainConfig
from afield.training.sparse_sgd import SparseSGD

NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def build_optimizer(algorithm: Algorithm, training: TrainConfig) -> torch.optim.Optimizer:
    """Create an optimizer whose parameter groups have a ``rate``, a factor on the scheduled learning rate.

    Raises:
        InputError: if the head samples its classes, and the optimizer or clipping does not support sparse gradients.
    """
    groups, name, rate = parameter_groups(algorithm, training), training.optimizer, training.learning_rate
    sparse = any(getattr(module, "sparse_gradients", False) for module in algorithm.modules())
    if sparse and training.clip_grad:
        raise InputError("--clip-grad does not support the sparse gradients of a sampled head")
    if name in ("sgd", "nesterov"):
        return SparseSGD(groups, rate, momentum=training.momentum, nesterov=name == "nesterov")
    if sparse:
        raise InputError(f"--optimizer {name} does not support the sparse gradients of a sampled head; use sgd")
    if name == "adamw":
        return torch.optim.AdamW(groups, rate, betas=(training.momentum, 0.999))
    from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]

    return create_optimizer_v2(groups, opt=name, lr=rate, momentum=training.momentum)


def parameter_groups(algorithm: Algorithm, training: TrainConfig) -> list[dict[str, Any]]:
    """The trainable parameters, in groups of equal learning rates.

    Biases of normalization layers have their own rate. The weight decay of these groups is divided by its factor, so
    that a step shrinks all parameters of a layer equally. Layers of the backbone have rates that decay towards the
    input.

    References:
        Page, "How to Train Your ResNet 8: Bag of Tricks", 2019; Clark et al., "ELECTRA", ICLR 2020, for the decay.
    """
    biases = {id(module.bias) for module in algorithm.modules() if isinstance(module, NORMS)}
    depths = {} if training.layer_decay == 1 else _depths(algorithm.classifier.backbone)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for parameter in algorithm.parameters():
        if parameter.requires_grad:
            apart = training.norm_bias_rate != 1 and id(parameter) in biases
            groups.setdefault((depths.get(id(parameter), 0), apart), []).append(parameter)
    found = []
    for (depth, apart), parameters in sorted(groups.items(), key=lambda item: item[0]):
        factor = training.norm_bias_rate if apart else 1.0
        rate = factor * training.layer_decay**depth
        found.append({"params": parameters, "rate": rate, "weight_decay": training.weight_decay / factor})
    return found


def _depths(backbone: nn.Module) -> dict[int, int]:
    """The depth of each parameter of a backbone by its id: 1 in the last layer with parameters, 2 before it, ..."""
    modules = [module for module in layers(backbone).values() if next(module.parameters(), None) is not None]
    return {id(p): depth for depth, module in enumerate(reversed(modules), 1) for p in module.parameters()}
