"""TrivialAugment, which applies one random operation with a random magnitude to each image."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS
from afield.augment.policies.magnitudes import WIDE_KINDS, draws_of, magnitudes
from afield.augment.policies.operations import Draws, OnOperations


@AUGMENTATIONS.register("trivialaugment", reference="Müller and Hutter, TrivialAugment, ICCV 2021.")
@dataclass(frozen=True)
class TrivialAugmentWide(OnOperations):
    """Applies one of fourteen operations to each image, with a random magnitude of the wide space.

    The magnitude is sampled uniformly from all bins. There are no hyperparameters to tune.

    Attributes:
        bins: number of magnitude bins of each operation.

    Example:
        >>> import torch
        >>> from afield.augment import TrivialAugmentWide, describe
        >>> images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
        >>> augment = TrivialAugmentWide()
        >>> params = augment.sample(images, torch.Generator().manual_seed(0))
        >>> describe(params, 1)
        'translate_x 14.9'
        >>> augment.apply(images, params).shape
        torch.Size([2, 3, 32, 32])

    References:
        Müller and Hutter, "TrivialAugment", ICCV 2021, table 1, the wide space.
    """

    bins: int = 31

    def sample(self, images: Tensor, generator: Generator) -> Draws:
        """Sample one operation for each image."""
        kinds = torch.randint(len(WIDE_KINDS), (len(images), 1), generator=generator)
        level = torch.randint(self.bins, kinds.shape, generator=generator)
        space = magnitudes(self.bins, shear=0.99, translate=(32.0, 32.0), rotate=135.0, factor=0.99, bits=(8, 6))
        return draws_of(kinds, level, space, generator)
