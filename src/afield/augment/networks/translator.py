"""A network that translates an image into an image of another class."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from afield.validation import Checked, setting


@dataclass(frozen=True)
class TranslatorConfig(Checked):
    """Size of a `Translator`.

    Attributes:
        width: number of channels at full resolution, half of those at the lower resolution.
        blocks: number of residual blocks.

    Raises:
        InputError: if a value is out of range.
    """

    width: int = setting(16, low=1, high=10_000)
    blocks: int = setting(3, low=1, high=100)


class Translator(nn.Module):
    """Maps images ``[B, 3, H, W]`` of any size from 4 px, in [0, 1], to images ``[B, 3, H, W]`` in [0, 1].

    The network is a small ResNet: one downsampling step, residual blocks at half the resolution, and one upsampling
    step. It generates every pixel. With a blend of input and generated pixels as the output, training would start close
    to the identity, which cycle consistency and identity loss reward. The result does not depend on other images of the
    batch.

    References:
        Zhu, Park, Isola, Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV
        2017, section 4 and appendix 7.2. For small images, there is one downsampling step instead of two, small kernels
        at the ends, and upsampling by nearest neighbors.
    """

    def __init__(self, config: TranslatorConfig) -> None:
        super().__init__()
        width = config.width
        self.entry = _block(3, width)
        self.down = _block(width, 2 * width, stride=2)
        self.residual = nn.ModuleList(
            nn.Sequential(_block(2 * width, 2 * width), *_convolution(2 * width, 2 * width))
            for _ in range(config.blocks)
        )
        self.up = _block(2 * width, width)
        self.out = nn.Conv2d(width, 3, 3, padding=1, padding_mode="reflect")

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        maps = self.down(self.entry(2 * images - 1))
        for block in self.residual:
            maps = maps + block(maps)
        maps = self.up(F.interpolate(maps, images.shape[2:]))
        return (self.out(maps).float().tanh() + 1) / 2


def _block(entering: int, leaving: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*_convolution(entering, leaving, stride), nn.ReLU(inplace=True))


def _convolution(entering: int, leaving: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(entering, leaving, 3, stride=stride, padding=1, padding_mode="reflect", bias=False)
    return convolution, nn.InstanceNorm2d(leaving)
