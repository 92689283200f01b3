"""A step of gradient descent that can be differentiated itself."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def inner_step(
    parameters: Mapping[str, Tensor], loss: Tensor, rate: float, *, clip: float = math.inf
) -> dict[str, Tensor]:
    """Where plain gradient descent leads from the parameters, as a function of them.

    Args:
        parameters: by name.
        loss: a scalar computed from all of them.
        rate: of the step.
        clip: largest norm of a parameter's gradient; a longer one is scaled down, by a factor that counts as a number.

    Returns:
        The new ones by name, for `torch.func.functional_call`.
    """
    slopes = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
    if clip < math.inf:
        slopes = tuple(slope * (clip / slope.detach().norm()).clamp(max=1.0) for slope in slopes)
    return {name: old - rate * slope for (name, old), slope in zip(parameters.items(), slopes, strict=True)}
