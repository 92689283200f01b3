"""The registry of the losses."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from afield.registry import Registry
from afield.target_split import TargetSplit

SplitLoss = Callable[[TargetSplit], Tensor]


@dataclass(frozen=True)
class Traits:
    """Optional parts of a loss that an objective uses.

    Attributes:
        split: the loss with default options as a function of a `TargetSplit` batch, one value per example, ``[B]``.
            Several losses with this function share one pass over the logits.
        check_classes: warns or raises an error if the loss is not meaningful for this number of classes.
    """

    split: SplitLoss | None
    check_classes: Callable[[int], None] | None


class LossRegistry(Registry[Callable[..., Tensor]]):
    """Losses and their traits by name."""

    def __init__(self) -> None:
        super().__init__("loss", group="afield.losses")
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
        """See `Registry.add`; `split` and `check_classes` are explained in `Traits`."""
        self.traits[name] = Traits(split, check_classes)
        return super().add(name, value, summary=summary, reference=reference)


LOSSES = LossRegistry()
