"""An objective: a head and weighted loss terms on its logits. What a training loop minimizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.errors import unknown_name
from afield.losses import LOSSES
from afield.losses.targets import counted, example_weight, is_soft
from afield.target_split import TargetSplit, split_target
from afield.types import IGNORE_INDEX, Head, SplittingHead


class Objective(nn.Module):
    """A head, and the weighted sum of losses on its logits.

    Args:
        head: any module with the `afield.types.Head` interface.
        losses: weight by name, from ``afield.losses.LOSSES``.
        loss_options: hyper-parameters by loss name, as ``{"label_smoothing": {"smoothing": 0.2}}``; class weights
            too, as ``{"cross_entropy": {"weight": [1.0, 2.0, 2.0]}}``.
        linear_losses: weight by name, for losses on the products ``W x`` of the head's own class vectors. With
            ``{"cross_entropy": 1.0}`` beside a margin head: cross-entropy and the margin on shared weights.
        neck: features ``[B, D]`` -> ``[B, D]`` before the head; see `afield.heads.Neck`.

    Raises:
        InputError: an unknown loss, or options for a loss that is not among `losses` (the nearest names are given).
        ValueError: no losses, or `linear_losses` with a head that has no such products.

    Example:
        >>> import torch
        >>> from afield.heads import ArcFaceHead
        >>> objective = Objective(ArcFaceHead(8, 3), losses={"cross_entropy": 1.0, "complement_flattening": 0.5})
        >>> loss = objective(torch.randn(4, 8), torch.tensor([0, 1, 2, 0]))
        >>> loss.backward()
        >>> objective.logits(torch.randn(2, 8)).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        head: nn.Module,
        losses: Mapping[str, float],
        loss_options: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        linear_losses: Mapping[str, float] | None = None,
        neck: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not losses:
            raise ValueError("an objective needs at least one loss")
        for name in loss_options or {}:
            if name not in losses:
                unknown_name("loss in loss_options:", name, losses)
        if linear_losses and not hasattr(head, "products"):
            raise ValueError(f"linear_losses need a head with class vectors on the unit sphere, got {head}")
        self.neck = neck
        self.head: Any = head
        self.weights = {**losses, **{f"linear/{name}": weight for name, weight in (linear_losses or {}).items()}}
        options = loss_options or {}
        self._losses = nn.ModuleDict({name: _Term(name, options.get(name, {})) for name in losses})
        self._linear_losses = nn.ModuleDict({name: _Term(name, {}) for name in linear_losses or {}})
        for name in losses:
            if (check := LOSSES.traits[name].check_classes) is not None:
                check(cast(Head, head).num_classes)
        split = {name: LOSSES.traits[name].split for name in losses}
        self._split_losses = {} if any(options.values()) else {name: f for name, f in split.items() if f is not None}

    def terms(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each loss before its weight, averaged over the batch: name -> scalar; ``linear/name`` for linear ones."""
        rows = self._rows(features, targets)
        return {name: values.mean() if counts is None else _mean(values, counts) for name, (values, counts) in rows}

    def risks(
        self, features: Tensor, targets: Tensor, groups: Tensor, count: int, *, scale: Tensor | None = None
    ) -> Tensor:
        """The weighted sum of the losses over each group of rows, ``[count]``.

        Args:
            features: ``[B, D]``.
            targets: as in `forward`.
            groups: ``[B]``, the group of each row, from 0 to count - 1; no group may be empty.
            count: number of groups.
            scale: ``[B]``, a factor on each row's logits.
        """
        member = F.one_hot(groups, count).T
        rows = self._rows(features, targets, scale)
        means = {name: _group_means(values, counts, member) for name, (values, counts) in rows}
        return sum((self.weights[name] * mean for name, mean in means.items()), start=features.new_zeros(count))

    def _rows(
        self, features: Tensor, targets: Tensor, scale: Tensor | None = None
    ) -> Iterator[tuple[str, tuple[Tensor, Tensor | None]]]:
        """Each loss by name: its values ``[B]``, and the weight of each row (None: all equal)."""
        if not len(features):
            raise ValueError("an objective needs at least one example")
        features = features if self.neck is None else self.neck(features)
        split = self._target_split(features, targets) if scale is None else None
        if split is not None:
            counts = targets != IGNORE_INDEX
            for name, split_loss in self._split_losses.items():
                yield name, (split_loss(split), counts)
        else:
            logits = _scaled(self.head(features, targets), scale)
            for name, loss in self._losses.items():
                yield name, loss(logits, targets)
        if self._linear_losses:
            logits = _scaled(self.head.products(features), scale)
            for name, loss in self._linear_losses.items():
                yield f"linear/{name}", loss(logits, targets)

    def _target_split(self, features: Tensor, targets: Tensor) -> TargetSplit | None:
        """The logits, split, if all losses can be computed from that and it saves work."""
        if len(self._split_losses) < len(self._losses) or is_soft(targets):
            return None
        if isinstance(self.head, SplittingHead):
            return self.head.target_split(features, targets)
        if len(self._losses) > 1:
            return split_target(self.head(features, targets), counted(targets, IGNORE_INDEX))
        return None

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Features ``[B, D]``, targets -> the weighted sum of the losses, a scalar.

        Targets are class indices ``[B]``, -100 in rows to ignore; or probabilities ``[B, K]`` (mixup, CutMix), if head
        and losses support them.
        """
        terms = self.terms(features, targets)
        return sum((self.weights[name] * term for name, term in terms.items()), start=features.new_zeros(()))

    def logits(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> the logits to predict with, ``[B, K]`` (no margin)."""
        return self.head(features if self.neck is None else self.neck(features))

    def extra_repr(self) -> str:
        """The weighted sum, for ``print(module)``."""
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())


class _Term(nn.Module):
    """A loss by name: its values ``[B]``, and the weight of each row in the mean, as in `afield.losses.Criterion`."""

    weight: Tensor | None

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.loss = LOSSES[name]
        self.options = {option: value for option, value in options.items() if option != "weight"}
        weight = options.get("weight")
        self.register_buffer("weight", None if weight is None else torch.as_tensor(weight).float(), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        options = self.options if self.weight is None else {**self.options, "weight": self.weight}
        values = self.loss(logits, targets, **options)
        if is_soft(targets):
            return values, None
        return values, example_weight(targets, self.weight, self.options.get("ignore_index", IGNORE_INDEX))


def _scaled(logits: Tensor, scale: Tensor | None) -> Tensor:
    return logits if scale is None else logits * scale[:, None]


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    """The sum of values ``[B]``, 0 where a row is ignored, over the sum of the rows' weights."""
    return values.where(counts != 0, 0).sum() / counts.sum()


def _group_means(values: Tensor, counts: Tensor | None, member: Tensor) -> Tensor:
    """`_mean` over each group, ``[G]``; member ``[G, B]`` is 1 where a row belongs to a group."""
    counts = torch.ones_like(values) if counts is None else counts.to(values.dtype)
    member = member.to(values.dtype)
    return (member @ values.where(counts != 0, 0)) / (member @ counts)
