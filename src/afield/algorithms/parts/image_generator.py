"""A small network that translates an image to the style of another domain."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 0.01


class ImageGenerator(nn.Module):
    """Images ``[B, 3, H, W]`` in [0, 1] and domains ``[B]`` -> images of the same shape, in [0, 1].

    Pixel values are clipped to [0.01, 0.99] and converted to log-odds. Three steps follow. First, each channel is
    normalized to mean 0 and deviation 1, which removes the style of the image. Second, a network conditioned on the
    domain changes the result. Third, each channel receives the mean and deviation learned for the domain. The network
    therefore does not have to recognize the original style, and copying the image is not the easiest solution. The
    domain enters the network as constant maps of 1 or 0. The network has no normalization layers, because they would
    remove constant maps.

    Args:
        domains: number of domains.
        width: channels at full resolution. At half resolution there are twice as many.

    References:
        The network is a small version of Choi et al., "StarGAN", CVPR 2018, with one downsampling and four residual
        layers. The styles follow Dumoulin et al., "A Learned Representation for Artistic Style", ICLR 2017.
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
