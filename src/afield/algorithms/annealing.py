"""A penalty that takes full effect only after a fraction of the training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from afield.algorithms.algorithm import Terms
from afield.validation import check_within


@dataclass(frozen=True)
class Annealed:
    """Factor 1 at first, `penalty` from `start` on; then both terms are divided by it where it exceeds 1.

    Attributes:
        penalty: at least 0.
        start: fraction of the steps, in [0, 1].
    """

    penalty: float
    start: float

    def __post_init__(self) -> None:
        check_within("[0, inf)", penalty=self.penalty)
        check_within("[0, 1]", anneal=self.start)

    def terms(self, objective: Tensor, name: str, value: Tensor, progress: float) -> Terms:
        """``objective`` and the penalty by its name, at this fraction of the steps."""
        factor = self.penalty if progress >= self.start else min(self.penalty, 1.0)
        scale = max(factor, 1.0)
        return {"objective": objective / scale, name: factor / scale * value}
