"""A penalty whose factor rises to its full value after a fraction of the training."""

from dataclasses import dataclass

from torch import Tensor

from afield.algorithms.algorithm import Terms
from afield.validation import check_within


@dataclass(frozen=True)
class Annealed:
    """A factor of a penalty: at most 1 before `start`, then `penalty`.

    If the factor exceeds 1, the objective and the penalty are both divided by it.

    Attributes:
        penalty: full factor, at least 0.
        start: fraction of the steps after which the full factor applies, in [0, 1].
    """

    penalty: float
    start: float

    def __post_init__(self) -> None:
        check_within("[0, inf)", penalty=self.penalty)
        check_within("[0, 1]", anneal=self.start)

    def terms(self, objective: Tensor, name: str, value: Tensor, progress: float) -> Terms:
        """``objective`` and the penalty called `name`, at this fraction of the steps."""
        factor = self.penalty if progress >= self.start else min(self.penalty, 1.0)
        scale = max(factor, 1.0)
        return {"objective": objective / scale, name: factor / scale * value}
