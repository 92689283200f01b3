"""Small inputs of the checks."""

import torch
from torch import Tensor

TARGETS = torch.tensor([0, 1, 2, 3, 4, 0, 1])


def generator(seed: int = 0) -> torch.Generator:
    """A generator of this seed."""
    return torch.Generator().manual_seed(seed)


def numbers(columns: int, factor: float = 1.0) -> Tensor:
    """Seven rows of random numbers that require a gradient, ``[7, columns]``."""
    return (factor * torch.randn(7, columns, generator=generator())).requires_grad_()


def images() -> Tensor:
    """Four images, ``[4, 3, 12, 12]``."""
    return torch.rand(4, 3, 12, 12, generator=generator())
