"""An augmentation that reduces the number of colors."""

import torch
from torch import Generator, Tensor

from afield.augment import AUGMENTATIONS
from afield.augment.base import OnBatch


@AUGMENTATIONS.register("fewer_colors")
class FewerColors(OnBatch):
    """Rounds each image to between 2 and 16 values per channel."""

    def sample(self, images: Tensor, generator: Generator) -> Tensor:
        """Draw the number of values for each image, ``[B, 1, 1, 1]``."""
        return torch.randint(2, 17, (len(images), 1, 1, 1), generator=generator).to(images.device)

    def apply(self, images: Tensor, params: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` in [0, 1] -> the same images with fewer colors."""
        return (images * (params - 1)).round() / (params - 1)
