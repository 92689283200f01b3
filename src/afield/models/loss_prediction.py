"""A small module that predicts the loss of each image from the stages of a backbone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LossPrediction(nn.Module):
    """Feature maps of several stages of a backbone -> a predicted loss for each image.

    Each stage applies a mean over the pixels, a linear layer and ReLU. A final linear layer maps the outputs of all
    stages to one number.

    Args:
        channels: number of channels of each stage; see `stage_channels`.
        width: output size of the linear layer of each stage.

    References:
        Yoo and Kweon, "Learning loss for active learning", CVPR 2019, section 3.2 and figure 2b.
    """

    def __init__(self, channels: Sequence[int], *, width: int = 128) -> None:
        super().__init__()
        self.stages = nn.ModuleList(nn.Linear(count, width) for count in channels)
        self.last = nn.Linear(width * len(self.stages), 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Feature maps ``[B, C, H, W]`` or their means ``[B, C]``, one for each stage -> predicted losses ``[B]``."""
        means = [each.flatten(2).mean(dim=2) if each.ndim > 2 else each for each in maps]
        hidden = [stage(mean).relu() for stage, mean in zip(self.stages, means, strict=True)]
        return self.last(torch.cat(hidden, dim=1)).squeeze(1)
