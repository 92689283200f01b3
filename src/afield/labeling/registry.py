"""What a strategy is, and strategies by name."""

from typing import Protocol

import torch
from torch import Tensor

from afield.labeling.pool import Pool
from afield.registry import Registry


class Strategy(Protocol):
    """Chooses which images to label next.

    A pure function: the same pool, count and state of the generator give the same images. Further options are
    keyword-only, with defaults.
    """

    def __call__(self, pool: Pool, count: int, generator: torch.Generator) -> Tensor:
        """Indices of images to label, int64 ``[count]``, the most wanted first.

        Args:
            pool: the images; `count` of them at least are available.
            count: number of images to choose.
            generator: source of random numbers, on the CPU.
        """
        ...


STRATEGIES: Registry[Strategy] = Registry("strategy")
