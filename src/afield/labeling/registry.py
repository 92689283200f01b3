"""The interface of a strategy, and strategies by name."""

from typing import Protocol

import torch
from torch import Tensor

from afield.labeling.pool import Pool
from afield.registry import Registry


class Strategy(Protocol):
    """Chooses the images to label next.

    A strategy is a pure function: equal pools, counts and generator states give the same images. Additional options are
    keyword-only and have defaults.
    """

    def __call__(self, pool: Pool, count: int, generator: torch.Generator) -> Tensor:
        """Return the indices of images to label, int64 ``[count]``, the most important one first.

        Args:
            pool: images; at least `count` of them are available.
            count: number of images to choose.
            generator: random number generator on the CPU.
        """
        ...


STRATEGIES: Registry[Strategy] = Registry("strategy", group="afield.strategies")
