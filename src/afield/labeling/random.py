"""Random sampling."""

import torch
from torch import Tensor

from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


@STRATEGIES.register("random", reference="-")
def random(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Draws images at random."""
    available = pool.available.nonzero().squeeze(1)
    return available[torch.randperm(len(available), generator=generator)[:count]]
