"""A copy of an objective with random class vectors."""

import copy

import torch

from afield.objective import Objective


@torch.no_grad()
def random_objective(objective: Objective) -> Objective:
    """Copy an objective and draw its matrices from a normal distribution with the same standard deviation.

    Vectors are not changed.
    """
    drawn = copy.deepcopy(objective)
    for parameter in drawn.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=float(parameter.std()))
    return drawn
