"""The discriminator: is this image as it was, or transformed?"""

from __future__ import annotations

from itertools import pairwise

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
