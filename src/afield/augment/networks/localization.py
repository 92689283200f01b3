"""The localization network of a spatial transformer, which predicts transformation parameters from an image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 16


class Localization(nn.Module):
    """Maps images ``[B, 3, H, W]`` of any size in [0, 1] and noise ``[B, Z]`` to ``[B, outputs]``, initially zeros.

    The images are reduced to 16 x 16 pixels. This is enough for the pose and position of an object, and fast at any
    size.

    Args:
        outputs: number of outputs for each image.
        noise: Z, can be 0.

    References:
        Jaderberg et al., "Spatial Transformer Networks", NeurIPS 2015, section 3.1.
    """

    def __init__(self, outputs: int, noise: int = 0) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        self.hidden = nn.Linear(32 * (SIDE // 4) ** 2 + noise, 64)
        self.out = nn.Linear(64, outputs)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        """See the class."""
        small = F.adaptive_avg_pool2d(images, SIDE) - 0.5
        return self.out(F.relu(self.hidden(torch.cat([self.trunk(small), noise], dim=1))))
