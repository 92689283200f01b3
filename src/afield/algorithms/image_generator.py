"""A small network that draws an image as another domain would have it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 0.01


class ImageGenerator(nn.Module):
    """Images ``[B, 3, H, W]`` in [0, 1] and domains ``[B]`` -> images of the same shape, in [0, 1].

    The log-odds of each channel are brought to mean 0 and deviation 1, which takes the image's own style away; a
    network changes them, knowing the domain; and they get the mean and deviation that the domain has learned. So one
    domain's style does not have to be found out to draw another's over it, and to draw the image as it was is not the
    easiest. A domain enters the network as maps that are 1 everywhere or 0 everywhere, and nothing in it is
    normalized, which would take such maps away again. Values count as at least 0.01 and at most 0.99.

    Args:
        domains: how many it can draw.
        width: channels at full resolution; at half of it there are twice as many.

    References:
        Choi et al., "StarGAN", CVPR 2018, for the network, at a small size: one halving, and four layers with a
        shortcut each. Dumoulin et al., "A Learned Representation for Artistic Style", ICLR 2017, for the styles.
    """

    def __init__(self, domains: int, width: int = 16) -> None:
        super().__init__()
        self.domains = domains
        self.enter = nn.Conv2d(3 + domains, width, 3, padding=1)
        self.halve = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(2 * width, 2 * width, 3, padding=1) for _ in range(4))
        self.restore = nn.Conv2d(2 * width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, 3, 3, padding=1)
        self.mean = nn.Embedding(domains, 3)
        self.log_deviation = nn.Embedding(domains, 3)

    def forward(self, images: Tensor, domains: Tensor) -> Tensor:
        """See the class."""
        content = F.instance_norm(images.logit(eps=EPS))
        code = F.one_hot(domains, self.domains).to(images.dtype)
        maps = code[:, :, None, None].expand(-1, -1, *images.shape[2:])
        x = F.relu(self.enter(torch.cat([content, maps], dim=1)))
        x = F.relu(self.halve(x))
        for block in self.blocks:
            x = x + F.relu(block(x))
        x = F.relu(self.restore(F.interpolate(x, size=images.shape[2:])))
        deviation, mean = self.log_deviation(domains).exp(), self.mean(domains)
        odds = (content + self.leave(x)) * deviation[:, :, None, None] + mean[:, :, None, None]
        return odds.sigmoid()
