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

    def products(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> ``W x`` ``[B, K]``: the same class vectors as a linear layer."""
        return F.linear(features, self.weight)

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

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: see `CosineHead`.
        margin_warmup: training steps over which the move grows from nothing to the whole. A step is a call with
            targets in training mode; the count is part of the state.

    Raises:
        ValueError: a bad scale or warm-up, or fewer than two classes.
    """

    steps: Tensor

    def __init__(
        self, in_features: int, num_classes: int, *, scale: float | str = "auto", margin_warmup: int = 0
    ) -> None:
        super().__init__(in_features, num_classes, scale=scale)
        if margin_warmup < 0:
            raise ValueError(f"margin_warmup must be at least 0 steps, got {margin_warmup!r}")
        self.margin_warmup = margin_warmup
        if margin_warmup:
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def moved(self, cosine: Tensor) -> Tensor:
        """The target's cosine ``[B]`` after the whole margin, ``[B]``."""

    def warmed(self, cosine: Tensor) -> Tensor:
        """The target's cosine ``[B]`` after as much of the margin as the warm-up has reached, ``[B]``."""
        if not self.margin_warmup:
            return self.moved(cosine)
        share = (self.steps / self.margin_warmup).clamp(max=1)
        if self.training:
            self.steps += 1
        return cosine + share * (self.moved(cosine) - cosine)

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]``, class indices ``[B]`` or None -> logits ``[B, K]``, float32."""
        cosines = self.cosines(features)
        if targets is None:
            return self.scale * cosines
        index = targets[:, None]
        target = cosines.gather(1, index)
        return self.scale * cosines.scatter(1, index, self.warmed(target.squeeze(1))[:, None])


HEADS.add(
    "cosine",
    CosineHead,
    summary="Normalised softmax: scaled cosines to class vectors.",
    reference="Wang et al., NormFace, ACM MM 2017.",
)
