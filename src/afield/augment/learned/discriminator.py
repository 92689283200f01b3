"""A discriminator of original and transformed images, and the losses of the adversarial training."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


class Discriminator(nn.Module):
    """Maps images ``[B, channels, H, W]`` in [0, 1] to logits ``[B]``, positive for images classified as real.

    References:
        Radford et al., "Unsupervised Representation Learning with Deep Convolutional GANs", ICLR 2016, with a small
        width and without batch normalization, whose statistics would mix real and transformed images.
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
    """The adversarial loss of the augmentor, a scalar, from the discriminator's logits ``[B]`` of its images.

    ``saturating``: the mean of ``log(1 - D)``, as in the paper; ``non_saturating``: the mean of ``-log D``.
    """
    return -F.softplus(fake).mean() if form == "saturating" else F.softplus(-fake).mean()


def discriminator_loss(discriminator: nn.Module, images: Tensor, warped: Tensor) -> Tensor:
    """The loss of the discriminator, the mean of ``-log D(I) - log(1 - D(G(I)))``, a scalar."""
    return F.softplus(-discriminator(images)).mean() + F.softplus(discriminator(warped)).mean()
