"""The discriminator: is this image as it was, or transformed? And what is minimized with it and against it."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class Discriminator(nn.Module):
    """Images ``[B, channels, H, W]`` in [0, 1] -> logits ``[B]``, above 0 for what it takes for real.

    References:
        Radford et al., "Unsupervised Representation Learning with Deep Convolutional GANs", ICLR 2016, at a small
        width and without batch normalization, which would mix real and transformed images.
    """

    def __init__(self, width: int = 16, channels: int = 3) -> None:
        super().__init__()
        widths = (channels, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for entering, leaving in pairwise(widths):
            layers += [nn.Conv2d(entering, leaving, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.out = nn.Linear(widths[-1], 1)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.out(self.layers(2 * images - 1)).squeeze(1)


def adversarial_loss(fake: Tensor, form: str) -> Tensor:
    """What the augmentor minimizes against a discriminator's logits ``[B]`` of its images, a scalar.

    ``saturating``: the mean of ``log(1 - D)``, as the paper prints it; ``non_saturating``: of ``-log D``.
    """
    return -F.softplus(fake).mean() if form == "saturating" else F.softplus(-fake).mean()


def discriminator_loss(discriminator: nn.Module, images: Tensor, warped: Tensor) -> Tensor:
    """What the discriminator minimizes, ``-log D(I) - log(1 - D(G(I)))``, a scalar."""
    return F.softplus(-discriminator(images)).mean() + F.softplus(discriminator(warped)).mean()
