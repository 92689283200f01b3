"""RandAugment, which applies a few random operations to each image, all with the same magnitude."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS
from afield.augment.policies.magnitudes import WIDE_KINDS, draws_of, narrow
from afield.augment.policies.operations import Draws, OnOperations


@AUGMENTATIONS.register("randaugment", reference="Cubuk et al., RandAugment, NeurIPS 2020.")
@dataclass(frozen=True)
class RandAugment(OnOperations):
    """Applies two of fourteen operations to each image, with magnitude 9 of 30.

    The ``num_ops`` operations are sampled with replacement and have the same magnitude.

    Attributes:
        num_ops: number of operations for each image.
        magnitude: magnitude bin, from 0.
        bins: number of bins.

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
        """Sample the operations of each image."""
        kinds = torch.randint(len(WIDE_KINDS), (len(images), self.num_ops), generator=generator)
        return draws_of(kinds, torch.full_like(kinds, self.magnitude), narrow(self.bins, *images.shape[2:]), generator)
