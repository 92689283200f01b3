"""Cutout and random erasing: a rectangle of each image painted over."""

from __future__ import annotations

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
        """The batch with each image's box painted over."""
        value = round(255 * self.fill) if images.dtype == torch.uint8 else self.fill
        return images.clone().masked_fill_(params.mask(images), value)


@AUGMENTATIONS.register("cutout", reference="DeVries and Taylor, Improved Regularization of CNNs with Cutout, 2017.")
@dataclass(frozen=True)
class Cutout(_Erasing):
    """A black square of half the side, cut at the edges.

    A square about any pixel, cut at the edges of the image.

    Attributes:
        size: side of the square as a fraction of the shorter side of the image: 0.5 is 16 of 32 pixels.
        fill: gray to paint with, from 0 (black) to 1 (white). The paper paints after normalizing, with the mean.

    References:
        DeVries and Taylor, "Improved Regularization of CNNs with Cutout", 2017.
    """

    size: float = 0.5
    fill: float = 0.0

    def sample(self, images: Tensor, generator: Generator) -> Boxes:
        """Draw the center of each square."""
        height, width = images.shape[2:]
        y = torch.randint(height, (len(images),), generator=generator)
        x = torch.randint(width, (len(images),), generator=generator)
        half = torch.full_like(y, round(self.size * min(height, width)) // 2)
        return around(y, x, half, half, images.shape)


@AUGMENTATIONS.register("random_erasing", reference="Zhong et al., Random Erasing Data Augmentation, AAAI 2020.")
@dataclass(frozen=True)
class RandomErasing(_Erasing):
    """Half of the time a black rectangle of 2 to 33 % of the area.

    With a probability, a rectangle of a drawn area and shape, inside the image.

    Attributes:
        p: probability.
        scale: range of the area, as a fraction of the image's.
        ratio: range of height over width, drawn in the logarithm.
        fill: gray to paint with, from 0 (black) to 1 (white).

    References:
        Zhong et al., "Random Erasing Data Augmentation", AAAI 2020; ten tries to fit as in torchvision.
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    fill: float = 0.0

    def sample(self, images: Tensor, generator: Generator) -> Boxes:
        """Draw boxes, empty where nothing is erased."""
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
