"""How an affine augmentor learns: the paper's way, and each remedy as a switch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from afield.augment import AugmentorConfig
from afield.errors import InputError
from afield.losses.max_entropy import Form, Sign
from afield.validation import check_ranges


@dataclass(frozen=True)
class AffineSettings:
    """What the augmentor minimizes, against whom, and for how long. The defaults do not collapse.

    Attributes:
        augmentor: what it can choose.
        sign: of the entropy loss: ``corrected`` raises the classifier's entropy, ``printed`` is the paper's formula.
        form: of the entropy loss: ``log`` of the gap to the largest entropy, as in the paper, or the ``gap`` itself.
        entropy_weight: the paper's lambda.
        target_entropy: share of the largest entropy to reach and not to pass; None: as high as it gets.
        discriminator: ``none``; ``saturating``, the paper's adversarial loss of the augmentor; ``non_saturating``.
        recognized: share, of the images that the teacher recognizes, that it must still recognize when they are
            transformed; the weight of its cross-entropy adapts to that. None: no teacher.
        recognition_weight: a fixed weight for the teacher's cross-entropy, in place of the adaptive one.
        spread_weight: reward for the logarithm of the widths between which transformations are drawn.
        refresh: whether a copy of the classifier goes on learning, on the transformed images; the teacher is then its
            moving average. Otherwise both stay as they are.
        refresh_rate: learning rate of that classifier, for SGD with momentum 0.9.
        epochs: passes over the training images.
        batch_size: images a step.
        learning_rate: of the augmentor, for Adam.
        discriminator_rate: learning rate of the discriminator, for SGD.

    Raises:
        InputError: a value outside its range.
    """

    augmentor: AugmentorConfig = field(default_factory=AugmentorConfig)
    sign: Sign = "corrected"
    form: Form = "log"
    entropy_weight: float = 2.0
    target_entropy: float | None = None
    discriminator: Literal["none", "saturating", "non_saturating"] = "none"
    recognized: float | None = 0.9
    recognition_weight: float | None = None
    spread_weight: float = 0.1
    refresh: bool = True
    refresh_rate: float = 0.02
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    discriminator_rate: float = 1e-4

    def __post_init__(self) -> None:
        """Check what is given."""
        check_ranges(self, _RANGES, optional=_OPTIONAL)
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if self.form == "gap" and self.sign == "printed":
            raise InputError("form=gap has the corrected sign only; the printed one is of the logarithm")
        if self.target_entropy is not None and self.sign == "printed":
            raise InputError("target_entropy has no sign to print: it is reached from both sides")
        if self.recognition_weight is not None and self.recognized is None:
            raise InputError("recognition_weight weighs a teacher's cross-entropy: recognized must not be null")


_RANGES = (
    ("entropy_weight", 0, 1000),
    ("target_entropy", 0, 1),
    ("recognized", 0, 1),
    ("recognition_weight", 0, 1000),
    ("spread_weight", 0, 1000),
    ("refresh_rate", 1e-12, 1000),
    ("epochs", 1, 100_000),
    ("batch_size", 1, 1_000_000),
    ("learning_rate", 1e-12, 1000),
    ("discriminator_rate", 1e-12, 1000),
)
_OPTIONAL = ("target_entropy", "recognized", "recognition_weight")
_CHOICES = {
    "sign": ("corrected", "printed"),
    "form": ("log", "gap"),
    "discriminator": ("none", "saturating", "non_saturating"),
}
