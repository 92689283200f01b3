"""An objective: a head and weighted loss terms on its logits. What a training loop minimises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from afield.errors import unknown_name
from afield.losses import LOSSES
from afield.types import Head


class Objective(nn.Module):
    """A head, and the weighted sum of losses on its logits.

    Args:
        head: any module with the `afield.types.Head` interface.
        losses: weight by name, from ``afield.losses.LOSSES``.
        loss_options: hyper-parameters by loss name, as ``{"label_smoothing": {"smoothing": 0.2}}``.

    Raises:
        InputError: an unknown loss, or options of a loss that is not there (the nearest names are given).
        ValueError: no loss at all.

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
    ) -> None:
        super().__init__()
        if not losses:
            raise ValueError("an objective needs at least one loss")
        for name in loss_options or {}:
            if name not in losses:
                unknown_name("loss in loss_options:", name, losses)
        self.head: Head | nn.Module = head
        self.weights = dict(losses)
        options = loss_options or {}
        self._losses = {name: (LOSSES[name], dict(options.get(name, {}))) for name in losses}

    def terms(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Each loss before its weight, averaged over the batch: name -> scalar."""
        logits = self.head(features, targets)
        return {name: loss(logits, targets, **options).mean() for name, (loss, options) in self._losses.items()}

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        """Features ``[B, D]``, class indices ``[B]`` -> the weighted sum of the losses, a scalar."""
        terms = self.terms(features, targets)
        return sum((self.weights[name] * term for name, term in terms.items()), start=features.new_zeros(()))

    def logits(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` -> the logits to predict with, ``[B, K]`` (no margin)."""
        return self.head(features)

    def extra_repr(self) -> str:
        """The weighted sum, for ``print(module)``."""
        return " + ".join(f"{weight:g} {name}" for name, weight in self.weights.items())
