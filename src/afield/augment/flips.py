"""Horizontal flips that alternate between epochs."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS, OnBatch, Visit
from afield.augment.params import UNTOUCHED, PerImage


@dataclass(frozen=True)
class Mirrored(PerImage):
    """Whether each image is flipped horizontally, bool ``[B]``."""

    flip: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        return "flipped" if self.flip[index] else UNTOUCHED


@AUGMENTATIONS.register(
    "alternating_flip", reference="Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024, section 3.6."
)
@dataclass(frozen=True)
class AlternatingFlip(OnBatch):
    """Flips a random half of the images in even epochs and the other half in odd epochs; on bytes.

    In every two consecutive epochs, each image is used once flipped and once unchanged. With independent flips, half of
    the images would be used twice in the same way. Training does not use the generator. If the indices of the images
    are unknown, each image is flipped with probability 0.5.

    References:
        Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, section 3.6.
    """

    takes_bytes = True

    def sample(self, images: Tensor, generator: Generator) -> Mirrored:
        """Sample a flip for each image independently."""
        return Mirrored(torch.rand(len(images), generator=generator) < 0.5)

    def sample_at(self, images: Tensor, generator: Generator, visit: Visit) -> Mirrored:
        """The flip of each image, which is inverted in every other epoch."""
        return Mirrored(coins(visit.indices, visit.seed) ^ bool(visit.epoch % 2))

    def apply(self, images: Tensor, params: Mirrored) -> Tensor:
        """Flip the images of the batch ``[B, 3, H, W]`` as sampled."""
        return torch.where(params.flip.to(images.device).view(-1, 1, 1, 1), images.flip(-1), images)


def coins(indices: Tensor, seed: int) -> Tensor:
    """A pseudo-random bool for each index, ``[B]``. It depends only on the index and the seed.

    References:
        Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014 (the finalizer).
    """
    numbers = indices.numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return torch.from_numpy(numbers >> np.uint64(63) == 1)
