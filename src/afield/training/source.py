"""Where batches come from: images or ready features, with labels and domains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Source:
    """Some examples of a set.

    Attributes:
        inputs: uint8 images ``[N, H, W, 3]`` or float32 features ``[N, D]`` of the whole set.
        labels: int64 ``[N]`` of the whole set.
        indices: the examples that belong to this source.
        domains: int64 ``[N]`` of the whole set; a single domain unless given.
    """

    inputs: NDArray
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    domains: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, positions: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Examples by position: float images ``[B, 3, H, W]`` in [0, 1], channels last, or features; labels ``[B]``."""
        chosen = self.indices[positions]
        inputs = torch.from_numpy(self.inputs[chosen])
        if inputs.dtype == torch.uint8:
            inputs = inputs.permute(0, 3, 1, 2).float().div_(255)
        return inputs, torch.from_numpy(self.labels[chosen])

    @cached_property
    def domain_of(self) -> NDArray[np.int64]:
        """The domain of each example of this source, numbered from 0 in the order of the set's own numbers."""
        if self.domains is None:
            return np.zeros(len(self), dtype=np.int64)
        return np.unique(self.domains[self.indices], return_inverse=True)[1].astype(np.int64)

    @property
    def domain_sizes(self) -> list[int]:
        """How many examples of this source each domain has."""
        return np.bincount(self.domain_of).tolist()
