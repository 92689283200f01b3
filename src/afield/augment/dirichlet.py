"""Samples of Dirichlet and Beta distributions, with a generator."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor


def dirichlet(alpha: Sequence[float], count: int, generator: Generator) -> Tensor:
    """Samples of a Dirichlet distribution, float32 ``[count, len(alpha)]``.

    They are drawn with NumPy, seeded by the generator, because PyTorch's Dirichlet does not accept a generator.
    """
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(alpha, count)).float()


def beta(alpha: float, count: int, generator: Generator) -> Tensor:
    """Samples of Beta(alpha, alpha), float32 ``[count]``."""
    return dirichlet([alpha, alpha], count, generator)[:, 0]
