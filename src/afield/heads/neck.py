"""The neck: what makes features of one sign fit for angles."""

from __future__ import annotations

from torch import Tensor, nn


class Neck(nn.Module):
    """A linear layer and batch normalization, with no ReLU behind them.

    Features behind a ReLU are never negative, so that all of them lie within 90 degrees of each other; the neck
    spreads them over the whole sphere.

    Args:
        features: D, in and out.

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
