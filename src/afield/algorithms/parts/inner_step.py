"""A differentiable step of gradient descent."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def inner_step(
    parameters: Mapping[str, Tensor], loss: Tensor, rate: float, *, clip: float = math.inf
) -> dict[str, Tensor]:
    """Take one differentiable step of plain gradient descent.

    Args:
        parameters: parameters by name.
        loss: scalar computed from all parameters.
        rate: learning rate.
        clip: largest norm of the gradient of each parameter. A larger gradient is scaled down; the scaling factor is a
            constant in the second derivative.

    Returns:
        The new parameters by name, for `torch.func.functional_call`.
    """
    slopes = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    if clip < math.inf:
        slopes = tuple(slope * (clip / slope.detach().norm()).clamp(max=1.0) for slope in slopes)
    return {name: old - rate * slope for (name, old), slope in zip(parameters.items(), slopes, strict=True)}
