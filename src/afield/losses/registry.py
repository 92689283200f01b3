"""The registry that every loss joins beside its definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from afield.registry import Registry
from afield.target_split import TargetSplit

SplitLoss = Callable[[TargetSplit], Tensor]


@dataclass(frozen=True)
class Traits:
    """What an objective may use of a loss beside the function.

    Attributes:
        split: the loss, with default options, of a `TargetSplit` batch: one value an example, ``[B]``. Several losses
            that have it share one pass over the logits.
        check_classes: warns or raises if the loss makes no sense for this number of classes.
    """

    split: SplitLoss | None
    check_classes: Callable[[int], None] | None


class LossRegistry(Registry[Callable[..., Tensor]]):
    """Losses by name, and their traits."""

    def __init__(self) -> None:
        super().__init__("loss")
        self.traits: dict[str, Traits] = {}

    def add(
        self,
        name: str,
        value: Callable[..., Tensor],
        *,
        summary: str,
        reference: str = "-",
        split: SplitLoss | None = None,
        check_classes: Callable[[int], None] | None = None,
    ) -> Callable[..., Tensor]:
        """See `Registry.add`, and `Traits` for the last two."""
        self.traits[name] = Traits(split, check_classes)
        return super().add(name, value, summary=summary, reference=reference)


LOSSES = LossRegistry()
