"""An objective: a head and weighted loss terms on its logits. What a training loop minimises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from afield.errors import unknown_name
from afield.losses import LOSSES
from afield.losses.separated import SEPARATED_LOSSES
from afield.losses.targets import counted, is_soft
from afield.separate import separate
from afield.types import IGNORE_INDEX, SeparatingHead


class Objective(nn.Module):
    """A head, and the weighted sum of losses on its logits.

    Args:
        head: any module with the `afield.types.Head` interface.
        losses: weight by name, from ``afield.losses.LOSSES``.
        loss_options: hyper-parameters by loss name, as ``{"label_smoothing": {"smoothing": 0.2}}``.
        linear_losses: weight by name, for losses on the products ``W x`` of the head's own class vectors. With
            ``{"cross_entropy": 1.0}`` beside a margin head: cross-entropy and the margin on shared weights.
        neck: features ``[B, D]`` -> ``[B, D]`` before the head; see `afield.heads.Neck`.

    Raises:
        InputError: an unknown loss, or options of a loss that is not there (the nearest names are given).
        ValueError: no loss at all, or `linear_losses` with a head that has no such products.

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
        self._losses = _with_options(losses, loss_options or {})
        self._linear_losses = _with_options(linear_losses or {}, {})
        self._separable = losses.keys() <= SEPARATED_LOSSES.keys() and not any((loss_options or {}).values())

    def terms(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each loss before its weight, averaged over the batch: name -> scalar; ``linear/name`` for linear ones."""
        features = features if self.neck is None else self.neck(features)
        values = self._values(features, targets)
        if self._linear_losses:
            logits = self.head.products(features)
            for name, (loss, options) in self._linear_losses.items():
                values[f"linear/{name}"] = loss(logits, targets, **options)
        return {name: _mean(value, targets) for name, value in values.items()}

    def _values(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each loss of each example, ``[B]``; with target and others apart where that is all the losses need."""
        if self._separable and not is_soft(targets):
            if isinstance(self.head, SeparatingHead):
                separated = self.head.separated(features, targets)
                return {name: SEPARATED_LOSSES[name](separated) for name in self._losses}
            if len(self._losses) > 1:
                separated = separate(self.head(features, targets), counted(targets, IGNORE_INDEX))
                return {name: SEPARATED_LOSSES[name](separated) for name in self._losses}
        logits = self.head(features, targets)
        return {name: loss(logits, targets, **options) for name, (loss, options) in self._losses.items()}

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Features ``[B, D]``, targets -> the weighted sum of the losses, a scalar.

        Targets are class indices ``[B]``, -100 in rows that do not count; or probabilities ``[B, K]`` (mixup,
        CutMix), where head and losses take them.
        """
        terms = self.terms(features, targets)
        return sum((self.weights[name] * term for name, term in terms.items()), start=features.new_zeros(()))

    def logits(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> the logits to predict with, ``[B, K]`` (no margin)."""
        return self.head(features if self.neck is None else self.neck(features))

    def extra_repr(self) -> str:
        """The weighted sum, for ``print(module)``."""
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())


def _with_options(
    losses: Mapping[str, float], options: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[Callable[..., Tensor], dict[str, Any]]]:
    return {name: (LOSSES[name], dict(options.get(name, {}))) for name in losses}


def _mean(values: Tensor, targets: Tensor) -> Tensor:
    """The mean over the rows that count."""
    if is_soft(targets):
        return values.mean()
    counts = targets != IGNORE_INDEX
    return values.where(counts, 0).sum() / counts.sum()
