"""A head whose logits are distances from class vectors."""

import torch
from torch import Tensor, nn

from afield.heads import HEADS
from afield.heads.features import check_features


@HEADS.register("distance", reference="Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017.")
class DistanceHead(nn.Module):
    """Negative squared distances of the features from one vector for each class.

    Args:
        in_features: D.
        num_classes: K.
        spread: standard deviation of the initial class vectors.
    """

    def __init__(self, in_features: int, num_classes: int, *, spread: float = 1.0) -> None:
        super().__init__()
        self.in_features = in_features
        self.num_classes = num_classes
        self.weight = nn.Parameter(spread * torch.randn(num_classes, in_features))

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` -> logits ``[B, K]``."""
        check_features(features, self.in_features)
        return -(features[:, None] - self.weight).square().mean(dim=2)
