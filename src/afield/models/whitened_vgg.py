"""A convolutional network for small images with a whitening first layer. It trains in few epochs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from afield.models.whitening import whitening_filters

PATCH = 2
OUTPUT_SCALE = 1 / 9


class ConvBlock(nn.Module):
    """Convolution, 2 x 2 max pooling, normalization, GELU, convolution, normalization, GELU.

    A convolution is initialized to copy its input channels to its first output channels (Dirac); the other channels are
    random. Batch normalization has a trainable bias only; its scale stays 1.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = _dirac(in_channels, channels)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = _norm(channels)
        self.conv2 = _dirac(channels, channels)
        self.norm2 = _norm(channels)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, channels, H / 2, W / 2]``."""
        x = self.act(self.norm1(self.pool(self.conv1(x))))
        return self.act(self.norm2(self.conv2(x)))


class WhitenedVGG(nn.Module):
    """A whitening layer for 2 x 2 patches, three blocks of two convolutions, and global max pooling.

    It maps images ``[B, 3, H, W]`` of at least 9 x 9 pixels to features ``[B, widths[-1]]``. The filters of the first
    layer are not trained. They are random until `see` computes them from training images.

    Args:
        widths: channels of the three blocks.

    References:
        Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024, section 3.
    """

    def __init__(self, widths: Sequence[int] = (64, 256, 256)) -> None:
        super().__init__()
        patches = 2 * 3 * PATCH**2
        self.num_features = widths[-1]
        self.feature_info = [{"module": f"stages.{index}", "num_chs": width} for index, width in enumerate(widths)]
        self.whiten = nn.Conv2d(3, patches, PATCH)
        self.whiten.weight.requires_grad_(False)
        self.act = nn.GELU()
        self.stages = nn.Sequential(*map(ConvBlock, (patches, *widths), widths))
        self.pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())

    @torch.no_grad()
    def see(self, images: Tensor) -> None:
        """Compute the filters of the first layer from images ``[N, 3, H, W]``, normalized as in training; bias 0."""
        self.whiten.weight.copy_(whitening_filters(images, PATCH))
        assert self.whiten.bias is not None
        self.whiten.bias.zero_()

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, H, W]`` -> features ``[B, num_features]``."""
        return self.pool(self.stages(self.act(self.whiten(images)))) * OUTPUT_SCALE


def _dirac(in_channels: int, channels: int) -> nn.Conv2d:
    convolution = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    nn.init.dirac_(convolution.weight.data[:in_channels])
    return convolution


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm
