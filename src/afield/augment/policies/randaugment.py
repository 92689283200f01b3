"""RandAugment: a few operations an image, all at one magnitude."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS
from afield.augment.policies.magnitudes import WIDE_KINDS, draws_of, narrow
from afield.augment.policies.operations import Draws, OnOperations


@AUGMENTATIONS.register("randaugment", reference="Cubuk et al., RandAugment, NeurIPS 2020.")
@dataclass(frozen=True)
class RandAugment(OnOperations):
    """Two of fourteen operations, at magnitude 9 of 30.

    ``num_ops`` of fourteen operations one after another, drawn with replacement, at one magnitude.

    Attributes:
        num_ops: operations an image.
        magnitude: the bin, from 0.
        bins: how many there are.

    References:
        Cubuk et al., "RandAugment", NeurIPS 2020; ranges as in torchvision.
    """

    num_ops: int = 2
    magnitude: int = 9
    bins: int = 31

    def __post_init__(self) -> None:
        if self.num_ops < 0 or not 0 <= self.magnitude < self.bins:
            raise ValueError(f"RandAugment needs num_ops >= 0 and 0 <= magnitude < bins, got {self}")

    def sample(self, images: Tensor, generator: Generator) -> Draws:
        """Draw the operations of each image."""
        kinds = torch.randint(len(WIDE_KINDS), (len(images), self.num_ops), generator=generator)
        return draws_of(kinds, torch.full_like(kinds, self.magnitude), narrow(self.bins, *images.shape[2:]), generator)
