"""Pairs of images of the same class."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from afield.errors import InputError
from afield.training import Subset


class Pairs:
    """Images with random partners of the same class. Each access samples new partners.

    An image that is the only one of its class has no partner and is not used.

    Raises:
        InputError: if no class has two images.
    """

    def __init__(self, source: Subset) -> None:
        labels = source.labels[source.indices]
        _, self._class, self._size = np.unique(labels, return_inverse=True, return_counts=True)
        self._source = source
        self._by_class = np.argsort(self._class, kind="stable")
        self._start = np.cumsum(self._size) - self._size
        self._rank = np.empty_like(self._class)
        self._rank[self._by_class] = np.arange(len(labels)) - self._start[self._class[self._by_class]]
        self._first = np.flatnonzero(self._size[self._class] > 1)
        if not len(self._first):
            raise InputError("pairs of images need at least one class with two or more training images")

    def __len__(self) -> int:
        return len(self._first)

    def draw(self, indices: NDArray[np.int64], generator: Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The positions ``[B]`` of the images with these indices in the source, and of a partner for each."""
        first = self._first[indices]
        others = self._size[self._class[first]] - 1
        drawn = torch.rand(len(first), generator=generator, dtype=torch.float64).numpy()
        step = 1 + np.minimum((drawn * others).astype(np.int64), others - 1)
        rank = (self._rank[first] + step) % (others + 1)
        return first, self._by_class[self._start[self._class[first]] + rank]

    def take(self, indices: NDArray[np.int64], generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Images ``[B, 3, H, W]`` in [0, 1], their labels ``[B]``, and their partners ``[B, 3, H, W]``."""
        first, second = self.draw(indices, generator)
        images, targets = self._source.take(first)
        return images, targets, self._source.take(second)[0]
