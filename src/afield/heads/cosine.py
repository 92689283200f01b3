"""Heads on the unit sphere: scaled cosines, and the base class of the margin heads."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.heads.registry import HEADS
from afield.heads.scale import resolve_scale

NORM_EPS = 1e-6
"""Added under the root of a squared norm, in float32: a zero vector has cosine 0 and finite gradients."""


def unit(x: Tensor) -> Tensor:
    """Rows of unit length, in float32: ``x / sqrt(|x|^2 + eps^2)``."""
    x = x.float()
    return x * (x.square().sum(dim=-1, keepdim=True) + NORM_EPS**2).rsqrt()


class CosineHead(nn.Module):
    """Normalised softmax: ``z_j = s cos(theta_j)``, with class vectors and features on the unit sphere.

    Computed in float32 whatever the autocast dtype.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: ``s``, or ``"auto"``: four times `afield.heads.scale_floor`. A number below the floor warns.

    Raises:
        ValueError: a bad scale, or fewer than two classes.

    References:
        Wang et al., "NormFace", ACM MM 2017.
    """

    def __init__(self, in_features: int, num_classes: int, *, scale: float | str = "auto") -> None:
        super().__init__()
        self.in_features = in_features
        self.num_classes = num_classes
        self.scale = resolve_scale(scale, num_classes)
        self.weight = nn.Parameter(torch.empty(num_classes, in_features))
        nn.init.normal_(self.weight, std=in_features**-0.5)

    def cosines(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> cosines ``[B, K]``, float32."""
        with torch.autocast(features.device.type, enabled=False):
            return F.linear(unit(features), unit(self.weight))

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` -> scaled cosines ``[B, K]``, float32; the targets are ignored."""
        return self.scale * self.cosines(features)

    def extra_repr(self) -> str:
        """Sizes and scale, for ``print(module)``."""
        return f"{self.in_features}, {self.num_classes}, scale={self.scale:g}"


class MarginHead(CosineHead):
    """A cosine head that moves the target's cosine while training; abstract.

    A subclass says where the cosine moves to. Only the target column changes, and without targets the logits
    are the plain scaled cosines.
    """

    @abstractmethod
    def moved(self, cosine: Tensor) -> Tensor:
        """The target's cosine ``[B]`` after the margin, ``[B]``."""

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]``, class indices ``[B]`` or None -> logits ``[B, K]``, float32."""
        cosines = self.cosines(features)
        if targets is None:
            return self.scale * cosines
        index = targets[:, None]
        target = cosines.gather(1, index)
        return self.scale * cosines.scatter(1, index, self.moved(target.squeeze(1))[:, None])


HEADS.add(
    "cosine",
    CosineHead,
    summary="Normalised softmax: scaled cosines to class vectors.",
    reference="Wang et al., NormFace, ACM MM 2017.",
)
