"""A network that generates variants of images from noise."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 4
"""Side of the feature map of the noise, before it is resized to the bottleneck."""


class VariantNetwork(nn.Module):
    """Maps images ``[B, 3, H, W]`` of any size in [0, 1] and noise ``[B, Z]`` to images ``[B, 3, H, W]`` in [0, 1].

    The network is a U-Net with two downsampling steps; the noise is added at the bottleneck. Each output pixel is a
    blend of the input pixel and a generated pixel, with equal weights initially, so that the network does not have to
    reproduce unchanged pixels. The result does not depend on other images of the batch.

    Args:
        noise: Z, at least 1.
        width: number of channels at full resolution, a multiple of 4. It doubles with each downsampling step.

    References:
        Antoniou et al., "Data Augmentation Generative Adversarial Networks", 2017, section 4; with group normalization
        instead of batch normalization, and a blend as the output.
    """

    def __init__(self, noise: int, width: int) -> None:
        super().__init__()
        self.entry = _block(3, width)
        self.down = _block(width, 2 * width, stride=2)
        self.bottom = _block(2 * width, 4 * width, stride=2)
        self.noise = nn.Linear(noise, width * SIDE**2)
        self.middle = _block(5 * width, 4 * width)
        self.up = _block(6 * width, 2 * width)
        self.exit = _block(3 * width, width)
        self.out = nn.Conv2d(width, 4, 3, padding=1)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """See the class."""
        entry = self.entry(2 * images - 1)
        down = self.down(entry)
        bottom = self.bottom(down)
        drawn = self.noise(noise).unflatten(1, (-1, SIDE, SIDE))
        deep = self.middle(_resize_and_concatenate(drawn, bottom, "bilinear"))
        found = (
            self.out(self.exit(_resize_and_concatenate(self.up(_resize_and_concatenate(deep, down)), entry)))
            .float()
            .sigmoid()
        )
        painted, share = found[:, :3], found[:, 3:]
        return torch.lerp(images.float(), painted, share)


def _block(entering: int, leaving: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(entering, leaving, 3, stride=stride, padding=1, bias=False),
        nn.GroupNorm(4, leaving),
        nn.LeakyReLU(0.2, inplace=True),
    )


def _resize_and_concatenate(coarse: Tensor, fine: Tensor, mode: str = "nearest") -> Tensor:
    """Resize a feature map to the size of another one, and concatenate both along the channels."""
    resized = F.interpolate(coarse, fine.shape[2:], mode=mode)
    return torch.cat([resized.to(fine.dtype), fine], dim=1)
