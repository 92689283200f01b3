"""The neck: a layer before the head that spreads non-negative features over the whole sphere."""

from torch import Tensor, nn


class Neck(nn.Module):
    """A linear layer and batch normalization, without a ReLU after them.

    Features after a ReLU are never negative, so the angles between them are at most 90 degrees. The neck spreads them
    over the whole sphere.

    Args:
        features: D, number of input and output features.

    References:
        Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", CVPRW 2019,
        section 3.5 (BNNeck).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, features, bias=False)
        self.norm = nn.BatchNorm1d(features)

    def forward(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> features ``[B, D]``."""
        return self.norm(self.linear(features))
