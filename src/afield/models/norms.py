"""Normalization layers for feature maps ``[B, C, H, W]``, by name."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Norm = Literal["batch", "group", "instance", "ibn"]

GROUP = 8
"""Channels in a group."""


class InstanceBatchNorm2d(nn.Module):
    """Instance normalization of the first half of the channels, batch normalization of the others.

    Args:
        channels: C, an even number.

    References:
        Pan et al., "Two at Once: Enhancing Learning and Generalization Capacities via IBN-Net", ECCV 2018, figure 3a.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.instance = nn.InstanceNorm2d(channels // 2, affine=True)
        self.batch = nn.BatchNorm2d(channels - channels // 2)

    def forward(self, maps: Tensor) -> Tensor:
        """``[B, C, H, W]`` -> ``[B, C, H, W]``."""
        first, second = maps.split([self.instance.num_features, self.batch.num_features], dim=1)
        return torch.cat([self.instance(first), self.batch(second)], dim=1)


NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": lambda channels: nn.GroupNorm(channels // GROUP, channels),
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "ibn": InstanceBatchNorm2d,
}
"""Layers by name, made from the number of channels C."""
