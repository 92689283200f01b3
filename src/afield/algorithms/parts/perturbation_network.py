"""A small network that changes the pixels of an image by a bounded amount."""

import torch
from torch import Tensor, nn

BLOCKS = 3


class PerturbationNetwork(nn.Module):
    """Images ``[B, 3, H, W]`` in [0, 1] -> changes of the pixels ``[B, 3, H, W]`` in [-1, 1].

    A convolution, three residual blocks of two convolutions, and a layer that joins each pixel with the mean of the
    image; all have instance normalization. H and W are at least 2.

    Args:
        width: channels of all layers.

    References:
        Zhou et al., "Deep Domain-Adversarial Image Generation for Domain Generalisation", AAAI 2020; the sizes are
        those of its code, KaiyangZhou/Dassl.pytorch.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(_conv(3, width), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width)) for _ in range(BLOCKS)
        )
        self.context = nn.Sequential(_conv(2 * width, width, side=1), nn.ReLU())
        self.leave = nn.Conv2d(width, 3, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(self.leave.get_parameter("bias"))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = self.enter(images)
        for block in self.blocks:
            x = x + block(x)
        mean = x.mean(dim=(2, 3), keepdim=True).expand_as(x)
        return self.leave(self.context(torch.cat([x, mean], dim=1))).tanh()


def _conv(entering: int, leaving: int, side: int = 3) -> nn.Sequential:
    """A convolution that keeps the size of the image, with reflected borders, and instance normalization."""
    conv = nn.Conv2d(entering, leaving, side, padding=side // 2, padding_mode="reflect", bias=False)
    return nn.Sequential(conv, nn.InstanceNorm2d(leaving))
