"""Cutout and random erasing, which fill a rectangle of each image."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS, OnBatch
from afield.augment.boxes import Boxes, around, first_fitting

TRIES = 10


class _Erasing(OnBatch):
    fill: float
    takes_bytes = True

    def apply(self, images: Tensor, params: Boxes) -> Tensor:
        """Fill the box of each image."""
        value = round(255 * self.fill) if images.dtype == torch.uint8 else self.fill
        return images.clone().masked_fill_(params.mask(images), value)


@AUGMENTATIONS.register("cutout", reference="DeVries and Taylor, Improved Regularization of CNNs with Cutout, 2017.")
@dataclass(frozen=True)
class Cutout(_Erasing):
    """Fills a square of half the image side with black.

    The center of the square can be any pixel; the square is clipped to the image.

    Attributes:
        size: side of the square as a fraction of the shorter side of the image; 0.5 means 16 of 32 pixels.
        fill: gray value of the square, from 0 (black) to 1 (white). The paper fills the normalized image with the mean.

    References:
        DeVries and Taylor, "Improved Regularization of CNNs with Cutout", 2017.
    """

    size: float = 0.5
    fill: float = 0.0

    def sample(self, images: Tensor, generator: Generator) -> Boxes:
        """Sample the center of each square."""
        height, width = images.shape[2:]
        y = torch.randint(height, (len(images),), generator=generator)
        x = torch.randint(width, (len(images),), generator=generator)
        half = torch.full_like(y, round(self.size * min(height, width)) // 2)
        return around(y, x, half, half, images.shape)


@AUGMENTATIONS.register("random_erasing", reference="Zhong et al., Random Erasing Data Augmentation, AAAI 2020.")
@dataclass(frozen=True)
class RandomErasing(_Erasing):
    """Fills a rectangle of 2 to 33 % of the area with black, with probability 0.5.

    The area and the aspect ratio of the rectangle are random. It lies inside the image.

    Attributes:
        p: probability of erasing.
        scale: range of the area, as a fraction of the image area.
        ratio: range of the ratio of height to width, sampled log-uniformly.
        fill: gray value of the rectangle, from 0 (black) to 1 (white).

    References:
        Zhong et al., "Random Erasing Data Augmentation", AAAI 2020; at most ten tries, as in torchvision.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    fill: float = 0.0

    def sample(self, images: Tensor, generator: Generator) -> Boxes:
        """Sample the boxes. A box is empty if nothing is erased."""
        count, (height, width) = len(images), images.shape[2:]

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return torch.rand(count, *shape, generator=generator) * (high - low) + low

        area = uniform(*self.scale, TRIES) * height * width
        aspect = uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), TRIES).exp()
        tall, wide = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()
        tall, wide, fits = first_fitting(tall, wide, (tall < height) & (wide < width))
        erased = fits & (uniform(0, 1) < self.p)
        tall, wide = tall.where(erased, 0), wide.where(erased, 0)
        top = (uniform(0, 1) * (height - tall + 1)).long()
        left = (uniform(0, 1) * (width - wide + 1)).long()
        return Boxes(top, top + tall, left, left + wide)
