"""Margin sampling."""

import torch
from torch import Tensor

from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


@STRATEGIES.register("margin", reference="Scheffer, Decomain and Wrobel, Active Hidden Markov Models, IDA 2001.")
def margin(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Chooses the images with the smallest margin between the two most probable classes."""
    first, second = pool.logits.softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
    return pool.highest(second - first, count)
