"""Least-confidence sampling."""

import torch
from torch import Tensor

from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


@STRATEGIES.register(
    "least_confidence", reference="Lewis and Gale, A Sequential Algorithm for Training Text Classifiers, 1994."
)
def least_confidence(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Chooses the images with the lowest probability of the predicted class."""
    return pool.highest(-pool.logits.softmax(dim=1).amax(dim=1), count)
