"""A small network that classifies images by domain."""

from itertools import pairwise

from torch import Tensor, nn
from torch.func import functional_call


class DomainNetwork(nn.Module):
    """Images ``[B, 3, H, W]`` in [0, 1] -> domain logits ``[B, E]``. A few layers suffice to recognize a domain.

    Args:
        domains: number of domains, E.
        width: channels of the first convolution. The second and third have twice and four times as many.
    """

    def __init__(self, domains: int, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for entering, leaving in pairwise((3, width, 2 * width, 4 * width)):
            conv = nn.Conv2d(entering, leaving, 3, stride=2, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(leaving), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.out = nn.Linear(4 * width, domains)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.out(self.layers(2 * images - 1))

    def frozen_features(self, images: Tensor) -> Tensor:
        """Images -> features before the output layer, ``[B, 4 * width]``, with running batch statistics.

        The images receive a gradient, the network does not. The network stays in evaluation mode afterwards.
        """
        weights = {name: weight.detach() for name, weight in self.layers.named_parameters()}
        return functional_call(self.layers.eval(), weights, (2 * images - 1,))
