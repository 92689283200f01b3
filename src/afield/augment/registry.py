"""The registry that every augmentation joins, and the interface they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Generator, Tensor

from afield.registry import Registry


class Augmentation(Protocol):
    """Sampling apart from applying: the same parameters give the same images."""

    def sample(self, images: Tensor, generator: Generator) -> Any:
        """Draw parameters for each image of a float batch ``[B, 3, H, W]`` in [0, 1]."""

    def apply(self, images: Tensor, params: Any) -> Tensor:
        """The batch under these parameters, ``[B, 3, H, W]``."""


AUGMENTATIONS: Registry[Callable[[], Augmentation]] = Registry("augmentation")
