"""Penalties whose factors rise to their full values after a fraction of the training."""

from dataclasses import dataclass

from torch import Tensor

from afield.algorithms.algorithm import Terms
from afield.validation import check_within


@dataclass(frozen=True)
class Annealed:
    """A factor of a penalty: at most `before` at first, then `penalty`.

    Attributes:
        penalty: full factor, at least 0.
        start: fraction of the steps after which the full factor applies, in [0, 1].
        before: largest factor before that.
    """

    penalty: float
    start: float
    before: float = 1.0

    def __post_init__(self) -> None:
        check_within("[0, inf)", penalty=self.penalty)
        check_within("[0, 1]", anneal=self.start)

    def factor(self, progress: float) -> float:
        """The factor at this fraction of the steps."""
        return self.penalty if progress >= self.start else min(self.penalty, self.before)


def penalized(objective: Tensor, progress: float, **penalties: tuple[Annealed, Tensor]) -> Terms:
    """``objective`` and each penalty by name, with its factor at this fraction of the steps.

    If a factor exceeds 1, all terms are divided by the largest factor, so that the gradients keep their magnitude.
    """
    factors = {name: annealed.factor(progress) for name, (annealed, _) in penalties.items()}
    scale = max(1.0, *factors.values())
    return {"objective": objective / scale} | {
        name: factors[name] / scale * value for name, (_, value) in penalties.items()
    }
