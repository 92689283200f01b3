"""Options of commands that use a trained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from afield.validation import check_number

if TYPE_CHECKING:
    from afield.deploy import Model


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """Which predictions are left to the model, and which images a person looks at.

    Attributes:
        target_accuracy: Accuracy that predictions without review must reach. The threshold is the smallest probability
            at which this holds on each domain that was left out of training.
        threshold: Probability below which a person looks at an image; by default, set by --target-accuracy.
    """

    target_accuracy: float = 0.95
    threshold: float | None = None

    def check(self) -> None:
        """Raise `InputError` if a value is not between 0 and 1."""
        check_number("--target-accuracy", self.target_accuracy, 0, 1)
        if self.threshold is not None:
            check_number("--threshold", self.threshold, 0, 1)

    def threshold_of(self, model: Model) -> float | None:
        """The threshold for a model; None if its confidence was not measured and no threshold is given."""
        return model.confidence.threshold(self.target_accuracy) if self.threshold is None else self.threshold


@dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """How the model computes.

    Attributes:
        precision: Numeric precision of the network: 32 bits, or bf16, which is faster on processors that compute in it.
    """

    precision: Literal["32", "bf16"] = "32"
