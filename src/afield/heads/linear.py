"""The linear head: an affine layer with the head interface."""

import torch
from torch import Tensor, nn

from afield.heads.features import check_features
from afield.heads.registry import HEADS
from afield.keywords import CheckedKeywords


@HEADS.register("linear", reference="Goodfellow, Bengio, Courville, Deep Learning, 2016, section 6.2.2.")
class LinearHead(CheckedKeywords, nn.Linear):
    """Affine layer, the usual classifier.

    The logits are ``z = W x + b``; the targets are ignored.

    Args:
        in_features: D.
        num_classes: K.
    """

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.num_classes = num_classes

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` -> logits ``[B, K]``."""
        check_features(features, self.in_features)
        if features.dtype != self.weight.dtype and not torch.is_autocast_enabled(features.device.type):
            raise ValueError(f"features are {features.dtype}, but the head is {self.weight.dtype}")
        return super().forward(features)
