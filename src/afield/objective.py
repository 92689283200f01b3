"""An objective: a head and weighted loss terms on its logits. What a training loop minimises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from afield.errors import unknown_name
from afield.losses import LOSSES


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
        self.head = head
        self.weights = {**losses, **{f"linear/{name}": weight for name, weight in (linear_losses or {}).items()}}
        options = loss_options or {}
        self._losses = {name: (LOSSES[name], dict(options.get(name, {}))) for name in losses}
        self._linear_losses = {name: LOSSES[name] for name in linear_losses or {}}

    def terms(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each loss before its weight, averaged over the batch: name -> scalar; ``linear/name`` for linear ones."""
        features = features if self.neck is None else self.neck(features)
        logits = self.head(features, targets)
        terms = {name: loss(logits, targets, **options).mean() for name, (loss, options) in self._losses.items()}
        if self._linear_losses:
            products = self.head.products(features)
            terms |= {f"linear/{name}": loss(products, targets).mean() for name, loss in self._linear_losses.items()}
        return terms

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Features ``[B, D]``, class indices ``[B]`` -> the weighted sum of the losses, a scalar."""
        terms = self.terms(features, targets)
        return sum((self.weights[name] * term for name, term in terms.items()), start=features.new_zeros(()))

    def logits(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> the logits to predict with, ``[B, K]`` (no margin)."""
        return self.head(features if self.neck is None else self.neck(features))

    def extra_repr(self) -> str:
        """The weighted sum, for ``print(module)``."""
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())
