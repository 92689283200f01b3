"""Heads on the unit sphere: scaled cosines, and the base class of the margin heads."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.heads.features import check_features
from afield.heads.kernel import split_cosines, unit
from afield.heads.registry import HEADS
from afield.heads.scale import adapted_scale, resolve_scale
from afield.target_split import TargetSplit, check_rows, check_targets, split_target
from afield.types import IGNORE_INDEX

SOFT_TARGETS = "soft targets (mixup, CutMix) need a linear or a cosine head, and losses on logits"


def class_vectors(count: int, features: int, generator: torch.Generator | None = None) -> nn.Parameter:
    """``[count, D]``, of length 1 or so, in random directions."""
    return nn.Parameter(torch.empty(count, features).normal_(std=features**-0.5, generator=generator))


class CosineHead(nn.Module):
    """Normalized softmax: ``z_j = s cos(theta_j)``, with class vectors and features on the unit sphere.

    Computed in float32 whatever the autocast dtype.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: ``s``, the inverse of what contrastive losses call temperature. A number (one below the floor
            warns); ``"auto"``, twice `afield.heads.scale_floor`; ``"learned"``, which starts there; or
            ``"adaptive"``, which follows the batch as in AdaCos, see `afield.heads.scale.adapted_scale`.

    Raises:
        ValueError: a bad scale, or fewer than two classes.

    References:
        Wang et al., "NormFace", ACM MM 2017.
    """

    scales: ClassVar[tuple[str, ...]] = ("auto", "learned", "adaptive")
    """The names that `scale` may have."""

    shown: ClassVar[tuple[str, ...]] = ()
    """The attributes that ``print(module)`` shows after the sizes and the scale."""

    adapting: Tensor

    def __init__(self, in_features: int, num_classes: int, *, scale: float | str = "auto") -> None:
        super().__init__()
        self.in_features = in_features
        self.num_classes = num_classes
        self.kind_of_scale = scale if isinstance(scale, str) else "fixed"
        self._scale = resolve_scale(scale, num_classes, self.scales)
        if scale == "learned":
            self.log_scale = nn.Parameter(torch.tensor(math.log(self._scale)))
        elif scale == "adaptive":
            self.register_buffer("adapting", torch.tensor(self._scale))
        self.weight = self.make_weight()

    def make_weight(self) -> nn.Parameter:
        """The class vectors to start with, ``[K, D]``."""
        return class_vectors(self.num_classes, self.in_features)

    @property
    def scale(self) -> float | Tensor:
        """``s``: a number, or a tensor ``[]`` where it is learned or adapts."""
        match self.kind_of_scale:
            case "learned":
                return self.log_scale.exp()
            case "adaptive":
                return self.adapting.clone()
            case _:
                return self._scale

    def cosines(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` -> cosines ``[B, K]``, float32. An adaptive scale adapts where targets are given."""
        check_features(features, self.in_features)
        with torch.autocast(features.device.type, enabled=False):
            cosines = self.per_class(F.linear(unit(features), unit(self.weight)))
        if self.kind_of_scale == "adaptive" and self.training and targets is not None:
            index, counts = self.indices(features, targets), targets != IGNORE_INDEX
            if counts.any():
                self.adapting.copy_(adapted_scale(self.adapting, cosines.detach()[counts], index[counts]))
        return cosines

    def products(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> ``W x`` ``[B, K]``: the same class vectors as a linear layer."""
        return self.per_class(F.linear(features, self.weight))

    def per_class(self, similarities: Tensor) -> Tensor:
        """One value a class vector, ``[B, rows of the weight]`` -> one a class, ``[B, K]``: here they are the same."""
        return similarities

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` -> scaled cosines ``[B, K]``, float32; the targets change none of them."""
        cosines = self.cosines(features, targets)
        return self.scale * cosines

    def target_split(self, features: Tensor, targets: Tensor) -> TargetSplit:
        """The head's logits, split; computed by the kernel unless the scale adapts, which needs all cosines."""
        index = self.indices(features, targets)
        if self.kind_of_scale == "adaptive":
            return split_target(self(features, targets), index)
        cosine, log_sum, total = split_cosines(features, self.weight, index, self.scale)
        return TargetSplit(self.scale * self.trained(cosine), log_sum, total / (self.num_classes - 1))

    def trained(self, cosine: Tensor) -> Tensor:
        """The target's cosine ``[B]`` with the training margin, ``[B]``: here without one."""
        return cosine

    def indices(self, features: Tensor, targets: Tensor) -> Tensor:
        """Class indices ``[B]``, with class 0 in the rows that are ignored.

        Raises:
            ValueError: a target that is no class, or what `unchecked_indices` refuses.
        """
        index = self.unchecked_indices(features, targets)
        check_targets(index, self.num_classes)
        return index

    def unchecked_indices(self, features: Tensor, targets: Tensor) -> Tensor:
        """The same without a look at the values, for processes that must meet before one of them raises an error.

        Raises:
            ValueError: soft targets (mixup, CutMix), which have no single target column; or unequal numbers of
                targets and features.
        """
        if targets.ndim != 1 or targets.is_floating_point():
            found = f"{str(targets.dtype).removeprefix('torch.')} {list(targets.shape)}"
            raise ValueError(f"{type(self).__name__} needs class indices [B], got {found}; {SOFT_TARGETS}")
        check_features(features, self.in_features)
        check_rows(targets, features)
        return targets.long().masked_fill(targets == IGNORE_INDEX, 0)

    def extra_repr(self) -> str:
        """Sizes, scale and options, for ``print(module)``."""
        kind = "" if self.kind_of_scale in ("fixed", "auto") else f" ({self.kind_of_scale})"
        values = {name: getattr(self, name) for name in self.shown}
        options = [f"{name}={v!r}" if isinstance(v, str) else f"{name}={v:g}" for name, v in values.items()]
        return ", ".join([f"{self.in_features}, {self.num_classes}, scale={self.scale:g}{kind}", *options])


class MarginHead(CosineHead):
    """A cosine head that changes the target's cosine in training; abstract.

    A subclass defines the changed cosine (`moved`). Only the target's column changes; without targets the logits are
    the plain scaled cosines.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: see `CosineHead`.
        margin_warmup: training steps over which the margin grows linearly from 0 to its full size. A step is a call
            with targets in training mode; the count is part of the state.

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
        """The target's cosine ``[B]`` with the full margin, ``[B]``."""

    def trained(self, cosine: Tensor) -> Tensor:
        """The target's cosine ``[B]`` with the fraction of the margin that the warm-up has reached, ``[B]``."""
        if not self.margin_warmup:
            return self.moved(cosine)
        fraction = (self.steps / self.margin_warmup).clamp(max=1)
        if self.training:
            self.steps += 1
        return cosine + fraction * (self.moved(cosine) - cosine)

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]``, class indices ``[B]`` or None -> logits ``[B, K]``, float32.

        Raises:
            ValueError: soft targets, see `indices`.
        """
        if targets is None:
            return self.scale * self.cosines(features)
        index = self.indices(features, targets)[:, None]
        cosines = self.cosines(features, targets)
        target = cosines.gather(1, index).squeeze(1)
        return self.scale * cosines.scatter(1, index, self.trained(target)[:, None])


HEADS.add(
    "cosine",
    CosineHead,
    summary="Normalized softmax: scaled cosines to class vectors.",
    reference="Wang et al., NormFace, ACM MM 2017.",
)
