"""EFDM: mixes the exact distributions of feature maps between images."""

import torch
from torch import Tensor

from afield.algorithms.mixstyle import MixStyle
from afield.algorithms.registry import ALGORITHMS


@ALGORITHMS.register(
    "efdm", reference="Zhang et al., Exact Feature Distribution Matching for Arbitrary Style Transfer, CVPR 2022."
)
class EFDM(MixStyle):
    """Mixes the sorted values of early feature maps between images.

    Like `MixStyle`, but the whole distribution of the values of a channel is mixed with the partner's instead of its
    mean and deviation: the value of a certain rank is mixed with the partner's value of the same rank. The gradient is
    that of the unchanged feature map.

    Args:
        classifier: model to train, in place. Its backbone must have stages that return feature maps.
        domain_sizes: not used.
        probability: probability of mixing after a stage, at each step.
        alpha: parameter of the Beta distribution, 0.1 in the paper.
        stages: number of stages after which maps are mixed; see `MixStyle`.
        mix: whose maps are mixed; see `MixStyle`.

    Raises:
        ValueError: if an option is out of range.
        InputError: if the backbone has no stages.

    References:
        Zhang et al., "Exact Feature Distribution Matching for Arbitrary Style Transfer and Domain Generalization",
        CVPR 2022, equations 5 to 7 and 9.
    """

    @staticmethod
    def mixed(maps: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
        """Feature maps ``[B, C, H, W]`` with mixed distributions; `partner` (indices) and `weight` are ``[B]``."""
        with torch.no_grad():
            values, order = maps.flatten(2).sort(dim=2)
            matched = torch.empty_like(values).scatter_(2, order, values[partner]).view_as(maps)
            change = (1 - weight[:, None, None, None]) * (matched - maps)
        return maps + change
