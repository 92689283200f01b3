"""The losses as modules: drop-ins for ``nn.CrossEntropyLoss``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from afield.losses.cross_entropy import cross_entropy, label_smoothing
from afield.losses.entropy import complement_entropy, confidence_penalty
from afield.losses.flattening import complement_flattening, warn_of_two
from afield.losses.focal import focal
from afield.losses.guided import guided_complement_entropy
from afield.losses.max_entropy import max_entropy
from afield.losses.target_split import split_cross_entropy, split_flattening
from afield.losses.targets import counted, example_weight, is_soft, narrow, prepare, settle, widen
from afield.target_split import split_target

Reduction = Literal["mean", "sum", "none"]
SHARED = ("weight", "ignore_index")


class Criterion(nn.Module):
    """A loss over a batch, alone or beside cross-entropy.

    ``class Brier(Criterion, loss=brier)`` makes one of any function with the interface of this package's losses;
    with ``strength=0.5`` too, it is cross-entropy plus half of it. The first three arguments are those of
    ``nn.CrossEntropyLoss``, the keywords and their defaults those of the function. Logits are ``[B, K]`` alone.

    Args:
        weight: class weights ``[K]``, a buffer; see `afield.losses.targets`.
        ignore_index: rows with this index do not count.
        reduction: ``"mean"`` divides by the sum of the weights of the targets that count, or by B where targets are
            probabilities; ``"sum"``; ``"none"`` for one value an example.
        options: `strength`, the factor of the loss beside cross-entropy, at least 0, or None for the loss alone; and
            the loss's hyper-parameters. They are tried once, so that a bad one is an error here.

    Raises:
        ValueError: an unknown reduction, a negative strength, or a hyper-parameter that the loss refuses.
        TypeError: a keyword that the loss does not take.

    Example:
        >>> criterion = ComplementFlattening(strength=0.5)
        >>> criterion(torch.zeros(2, 4), torch.tensor([0, 3]))  # log 4 + 0.5 * log 3
        tensor(1.9356)
    """

    loss: ClassVar[Callable[..., Tensor]]
    defaults: ClassVar[Mapping[str, Any]]
    weight: Tensor | None

    def __init_subclass__(cls, loss: Callable[..., Tensor] | None = None, strength: float | None = None) -> None:
        super().__init_subclass__()
        if loss is None:
            return
        keywords = (p for p in inspect.signature(loss).parameters.values() if p.kind is p.KEYWORD_ONLY)
        cls.loss = staticmethod(loss)
        cls.defaults = {"strength": strength} | {p.name: p.default for p in keywords if p.name not in SHARED}

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        **options: Any,
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f'reduction must be "mean", "sum" or "none", got {reduction!r}')
        self.options = {**self.defaults, **options}
        self.strength: float | None = self.options.pop("strength")
        if self.strength is not None and not self.strength >= 0:
            raise ValueError(f"strength must be at least 0, got {self.strength!r}")
        self.loss(torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64), **self.options)
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction

    def values(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits ``[B, K]``, class indices ``[B]`` or probabilities ``[B, K]`` -> one value an example, ``[B]``."""
        rows: dict[str, Any] = {"weight": self.weight, "ignore_index": self.ignore_index}
        loss = self.loss(logits, targets, **self.options, **rows)
        return loss if self.strength is None else cross_entropy(logits, targets, **rows) + self.strength * loss

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits ``[B, K]``, targets as in `values` -> a scalar, or ``[B]`` unreduced, of the logits' dtype."""
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


class CrossEntropy(Criterion, loss=cross_entropy):
    """``nn.CrossEntropyLoss`` with a `temperature`; see `afield.losses.cross_entropy`."""


class LabelSmoothing(Criterion, loss=label_smoothing):
    """Label smoothing, with its `smoothing` and `temperature`; see `afield.losses.label_smoothing`."""


class Focal(Criterion, loss=focal):
    """Focal loss, with its `gamma`; see `afield.losses.focal`."""


class GuidedComplementEntropy(Criterion, loss=guided_complement_entropy):
    """Guided complement entropy alone, with its `alpha`; see `afield.losses.guided_complement_entropy`."""


class ComplementFlattening(Criterion, loss=complement_flattening, strength=0.5):
    """Cross-entropy plus `strength` times `afield.losses.complement_flattening`.

    The strength is the paper's lambda: 0.5 is its best value, 1.0 also beats its baseline. At class indices both
    losses are computed in one pass.
    """

    def values(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Criterion.values`."""
        if is_soft(targets) or self.strength is None:
            return super().values(logits, targets)
        z, t, w = prepare("ComplementFlattening", logits, targets, self.weight, self.ignore_index, classes=2)
        warn_of_two(z.shape[1])
        parts = split_target(z, counted(t, self.ignore_index))
        values = split_cross_entropy(parts) + self.strength * split_flattening(parts)
        return settle(values, logits, t, w, self.ignore_index)


class ComplementEntropy(Criterion, loss=complement_entropy, strength=1.0):
    """Cross-entropy plus `strength` times `afield.losses.complement_entropy`."""


class ConfidencePenalty(Criterion, loss=confidence_penalty, strength=0.1):
    """Cross-entropy plus `strength` (the paper's beta) times `afield.losses.confidence_penalty`."""


class MaxEntropy(Criterion, loss=max_entropy, strength=0.1):
    """Cross-entropy plus `strength` times `afield.losses.max_entropy`, with its `sign`, `form` and `eps`."""
