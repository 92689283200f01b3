"""Augmentations whose draw for an image depends on the image's index and the epoch."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Generator, Tensor

from afield.augment.registry import Augmentation


class Visit(NamedTuple):
    """Which training images a batch holds, and when.

    Attributes:
        indices: of the images among the training images, int64 ``[B]``.
        epoch: from 0.
        seed: of the run.
    """

    indices: Tensor
    epoch: int
    seed: int


@runtime_checkable
class EpochAwareAugmentation(Augmentation, Protocol):
    """An augmentation whose draw for an image depends on its draws in other epochs."""

    def sample_at(self, images: Tensor, generator: Generator, visit: Visit) -> Any:
        """`sample`, for images ``[B, 3, H, W]`` that are known."""


def sample_at(augmentation: Augmentation, images: Tensor, generator: Generator, visit: Visit) -> Any:
    """Draw parameters for known training images; only epoch-aware augmentations use what is known."""
    if isinstance(augmentation, EpochAwareAugmentation):
        return augmentation.sample_at(images, generator, visit)
    return augmentation.sample(images, generator)
