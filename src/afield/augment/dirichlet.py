"""Fractions that sum to one, drawn for each image from a Dirichlet or a Beta distribution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor


def dirichlet(alpha: Sequence[float], count: int, generator: Generator) -> Tensor:
    """``[count, len(alpha)]``, float32. NumPy draws, seeded by the generator: PyTorch's Dirichlet takes none."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).dirichlet(alpha, count)).float()


def beta(alpha: float, count: int, generator: Generator) -> Tensor:
    """Beta(alpha, alpha): ``[count]``, float32."""
    return dirichlet([alpha, alpha], count, generator)[:, 0]
