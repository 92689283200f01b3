"""Heads on the unit sphere: scaled cosines, and the base class of the margin heads."""

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
from afield.keywords import CheckedKeywords
from afield.target_split import TargetSplit, check_rows, check_targets, split_target
from afield.types import IGNORE_INDEX
from afield.validation import check_within

SOFT_TARGETS = "soft targets (mixup, CutMix) need a linear or a cosine head, and losses on logits"


def class_vectors(count: int, features: int, generator: torch.Generator | None = None) -> nn.Parameter:
    """Random vectors ``[count, D]`` of length close to 1."""
    return nn.Parameter(torch.empty(count, features).normal_(std=features**-0.5, generator=generator))


@HEADS.register("cosine", reference="Wang et al., NormFace, ACM MM 2017.")
class CosineHead(CheckedKeywords, nn.Module):
    """Normalized softmax: scaled cosines to class vectors.

    The logits are ``z_j = s cos(theta_j)``, where ``theta_j`` is the angle between the feature and class vector ``j``.
    They are computed in float32, also under autocast.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: ``s``, the inverse of the temperature of contrastive losses. A number (a warning is given if it is below
            `afield.heads.scale_floor`); ``"auto"``, twice the floor; ``"learned"``, a parameter that starts at
            ``"auto"``; or ``"adaptive"``, updated by each batch as in AdaCos (`afield.heads.scale.adapted_scale`).

    Raises:
        ValueError: if the scale is not allowed, or there are fewer than two classes.

    References:
        Wang et al., "NormFace", ACM MM 2017.
    """

    scales: ClassVar[tuple[str, ...]] = ("auto", "learned", "adaptive")
    """The allowed names of `scale`."""

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
        """The initial class vectors, ``[K, D]``."""
        return class_vectors(self.num_classes, self.in_features)

    @property
    def scale(self) -> float | Tensor:
        """``s``: a number, or a scalar tensor if it is learned or adaptive."""
        match self.kind_of_scale:
            case "learned":
                return self.log_scale.exp()
            case "adaptive":
                return self.adapting.clone()
            case _:
                return self._scale

    def cosines(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` -> cosines ``[B, K]``, float32. Targets update an adaptive scale."""
        check_features(features, self.in_features)
        with torch.autocast(features.device.type, enabled=False):
            cosines = self.per_class(F.linear(unit(features), unit(self.weight)))
        if self.kind_of_scale == "adaptive" and self.training and targets is not None:
            index, counts = self.indices(features, targets), targets != IGNORE_INDEX
            if counts.any():
                self.adapting.copy_(adapted_scale(self.adapting, cosines.detach()[counts], index[counts]))
        return cosines

    def products(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> products ``W x`` with the class vectors, ``[B, K]``, as in a linear layer."""
        return self.per_class(F.linear(features, self.weight))

    def per_class(self, similarities: Tensor) -> Tensor:
        """Reduce values per class vector, ``[B, rows]``, to values per class, ``[B, K]``. Here both are the same."""
        return similarities

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]`` -> scaled cosines ``[B, K]``, float32. The targets do not change them."""
        cosines = self.cosines(features, targets)
        return self.scale * cosines

    def target_split(self, features: Tensor, targets: Tensor) -> TargetSplit:
        """The logits as `TargetSplit`. Uses the kernel, except for an adaptive scale, which needs all cosines."""
        index = self.indices(features, targets)
        if self.kind_of_scale == "adaptive":
            return split_target(self(features, targets), index)
        cosine, log_sum, total = split_cosines(features, self.weight, index, self.scale)
        return TargetSplit(self.scale * self.trained(cosine), log_sum, total / (self.num_classes - 1))

    def trained(self, cosine: Tensor) -> Tensor:
        """Apply the training margin to the target's cosine ``[B]``. This head has no margin."""
        return cosine

    def indices(self, features: Tensor, targets: Tensor) -> Tensor:
        """Class indices ``[B]``, with class 0 in ignored rows.

        Raises:
            ValueError: if a target is not a class index, or for the reasons of `unchecked_indices`.
        """
        index = self.unchecked_indices(features, targets)
        check_targets(index, self.num_classes)
        return index

    def unchecked_indices(self, features: Tensor, targets: Tensor) -> Tensor:
        """`indices` without a check of the values, so that all processes can communicate before one raises an error.

        Raises:
            ValueError: if the targets are soft (mixup, CutMix), so that there is no single target class, or if the
                numbers of targets and features differ.
        """
        if targets.ndim != 1 or targets.is_floating_point():
            found = f"{str(targets.dtype).removeprefix('torch.')} {list(targets.shape)}"
            hint = f"; {SOFT_TARGETS}" if targets.ndim == 2 and targets.is_floating_point() else ""
            raise ValueError(f"{type(self).__name__} needs class indices [B], got {found}{hint}")
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
    """Abstract base class of cosine heads that apply a margin to the target's cosine during training.

    A subclass implements the margin in `moved`. Only the logit of the target changes. Without targets, the logits are
    scaled cosines.

    Args:
        in_features: D.
        num_classes: K, at least 2.
        scale: see `CosineHead`.
        margin_warmup: number of training steps in which the margin increases linearly from 0 to its full value. A step
            is a call with targets in training mode. The state dict contains the number of steps.

    Raises:
        ValueError: if the scale or the warm-up is not allowed, or there are fewer than two classes.
    """

    steps: Tensor

    def __init__(
        self, in_features: int, num_classes: int, *, scale: float | str = "auto", margin_warmup: int = 0
    ) -> None:
        super().__init__(in_features, num_classes, scale=scale)
        check_within("[0, inf)", margin_warmup=margin_warmup)
        self.margin_warmup = margin_warmup
        if margin_warmup:
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @abstractmethod
    def moved(self, cosine: Tensor) -> Tensor:
        """Apply the full margin to the target's cosine ``[B]``."""

    def trained(self, cosine: Tensor) -> Tensor:
        """Apply the current fraction of the margin to the target's cosine ``[B]``; see `margin_warmup`."""
        if not self.margin_warmup:
            return self.moved(cosine)
        fraction = (self.steps / self.margin_warmup).clamp(max=1)
        if self.training:
            self.steps += 1
        return cosine + fraction * (self.moved(cosine) - cosine)

    def forward(self, features: Tensor, targets: Tensor | None = None) -> Tensor:
        """Features ``[B, D]``, class indices ``[B]`` or None -> logits ``[B, K]``, float32.

        Raises:
            ValueError: if the targets are soft; see `indices`.
        """
        if targets is None:
            return self.scale * self.cosines(features)
        index = self.indices(features, targets)[:, None]
        cosines = self.cosines(features, targets)
        target = cosines.gather(1, index).squeeze(1)
        return self.scale * cosines.scatter(1, index, self.trained(target)[:, None])
