"""The base class of the loss modules: drop-in replacements of ``nn.CrossEntropyLoss``."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from afield.keywords import check_keywords
from afield.losses.registry import LOSSES
from afield.losses.targets import example_weight, is_soft, narrow, widen
from afield.validation import check_within

Reduction = Literal["mean", "sum", "none"]
SHARED = ("weight", "ignore_index", "counts")


class Criterion(nn.Module):
    """A loss over a batch, alone or added to cross-entropy.

    ``class Brier(Criterion, loss=brier)`` creates a module from any function with the interface of this package's
    losses. With the additional argument ``strength=0.5`` the module is cross-entropy plus half of that loss. The first
    three arguments are those of ``nn.CrossEntropyLoss``. The other keywords and their defaults are those of the
    function. Logits must be ``[B, K]``.

    Args:
        weight: class weights ``[K]``, stored as a buffer; see `afield.losses.targets`.
        ignore_index: rows with this target are ignored.
        reduction: ``"mean"`` divides the sum by the total weight of the targets that are not ignored, or by B if the
            targets are probabilities; ``"sum"`` returns the sum; ``"none"`` returns one value per example.
        options: `strength` and the hyper-parameters of the loss. `strength` is the factor of the loss that is added to
            cross-entropy, at least 0, or None for the loss alone. The options are checked by one call of the loss.
            `counts`, the number of training images of each class ``[K]``, is stored as a buffer.

    Raises:
        ValueError: if the reduction is unknown, the strength is negative, or a hyper-parameter is out of range.
        TypeError: if the loss does not have the keyword.

    Example:
        >>> from afield.losses import ComplementFlattening
        >>> criterion = ComplementFlattening(strength=0.5)
        >>> criterion(torch.zeros(2, 4), torch.tensor([0, 3]))  # log 4 + 0.5 * log 3
        tensor(1.9356)
    """

    loss: ClassVar[Callable[..., Tensor]]
    defaults: ClassVar[Mapping[str, Any]]
    weight: Tensor | None
    counts: Tensor | None

    def __init_subclass__(cls, loss: Callable[..., Tensor] | None = None, strength: float | None = None) -> None:
        super().__init_subclass__()
        if loss is None:
            return
        keywords = (p for p in inspect.signature(loss).parameters.values() if p.kind is p.KEYWORD_ONLY)
        cls.loss = staticmethod(loss)
        cls.defaults = {"strength": strength} | {p.name: p.default for p in keywords if p.name not in SHARED}

    def __init__(
        self, weight: Tensor | None = None, ignore_index: int = -100, reduction: Reduction = "mean", **options: Any
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
        check_keywords(type(self).__name__, options, ("weight", "ignore_index", "reduction", "counts", *self.defaults))
        self.options = {**self.defaults, **options}
        self.strength: float | None = self.options.pop("strength")
        if self.strength is not None:
            check_within("[0, inf)", strength=self.strength)
        counts = self.options.pop("counts", None)
        given = {} if counts is None else {"counts": counts}
        logits = torch.zeros(1, 3 if counts is None else len(counts))
        self.loss(logits, torch.zeros(1, dtype=torch.int64), **self.options, **given)
        self.register_buffer("counts", counts)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction

    def values(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits ``[B, K]``, class indices ``[B]`` or probabilities ``[B, K]`` -> one value per example, ``[B]``."""
        rows: dict[str, Any] = {"weight": self.weight, "ignore_index": self.ignore_index}
        counts = {} if self.counts is None else {"counts": self.counts}
        loss = self.loss(logits, targets, **self.options, **counts, **rows)
        return (
            loss if self.strength is None else LOSSES["cross_entropy"](logits, targets, **rows) + self.strength * loss
        )

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits ``[B, K]``, targets as in `values` -> a scalar, or ``[B]`` without reduction, in the logits' dtype."""
        values = self.values(widen(logits), targets)
        if self.reduction == "none":
            return narrow(values, logits)
        total = values.sum()
        if self.reduction == "mean":
            total = total / self._count(targets, values.dtype)
        return narrow(total, logits)

    def extra_repr(self) -> str:
        """The settings, for ``print(module)``."""
        own = {} if self.strength is None else {"strength": self.strength}
        settings = {"ignore_index": self.ignore_index, "reduction": self.reduction} | own | self.options
        return ", ".join(f"{name}={value!r}" for name, value in settings.items())

    def _count(self, targets: Tensor, dtype: torch.dtype) -> Tensor | int:
        if is_soft(targets):
            return targets.shape[0]
        weight = None if self.weight is None else self.weight.to(dtype)
        return example_weight(targets.long(), weight, self.ignore_index).sum()
