"""Dropout with the random numbers of PyTorch, drawn in less time."""

import math

import torch
from torch import Tensor, nn

MANTISSA = 2**53 - 1
"""The bits of a random integer that PyTorch uses for a random double in [0, 1)."""


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` with the same result, bit for bit, and the same use of the generator.

    PyTorch converts 64 random bits for each feature on a CPU to a double and compares it with the probability. Here,
    the bits of all features are drawn first and then compared as integers, because dropout takes much of a training
    step on frozen features.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Features of any shape -> features of the same shape."""
        if not self.training or not self.p or features.device.type != "cpu":
            return super().forward(features)
        bits = torch.empty_like(features, dtype=torch.int64, requires_grad=False).random_()
        kept = bits.bitwise_and_(MANTISSA) < math.ceil((1 - self.p) * (MANTISSA + 1))
        return features * kept.to(features.dtype).div_(1 - self.p)
