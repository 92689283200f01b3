"""How an affine augmentor learns: the paper's way, and each remedy as a switch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from afield.augment import AugmentorConfig
from afield.errors import InputError
from afield.losses.max_entropy import Form, Sign
from afield.validation import Checked, setting


@dataclass(frozen=True)
class AffineSettings(Checked):
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
        InputError: a value outside its range or choices, or settings that contradict each other.
    """

    augmentor: AugmentorConfig = field(default_factory=AugmentorConfig)
    sign: Sign = "corrected"
    form: Form = "log"
    entropy_weight: float = setting(2.0, high=1000)
    target_entropy: float | None = setting(None, high=1)
    discriminator: Literal["none", "saturating", "non_saturating"] = "none"
    recognized: float | None = setting(0.9, high=1)
    recognition_weight: float | None = setting(None, high=1000)
    spread_weight: float = setting(0.1, high=1000)
    refresh: bool = True
    refresh_rate: float = setting(0.02, low=1e-12, high=1000)
    epochs: int = setting(10, low=1, high=100_000)
    batch_size: int = setting(128, low=1, high=1_000_000)
    learning_rate: float = setting(1e-3, low=1e-12, high=1000)
    discriminator_rate: float = setting(1e-4, low=1e-12, high=1000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form == "gap" and self.sign == "printed":
            raise InputError("form=gap has the corrected sign only; the printed one is of the logarithm")
        if self.target_entropy is not None and self.sign == "printed":
            raise InputError("target_entropy has no sign to print: it is reached from both sides")
        if self.recognition_weight is not None and self.recognized is None:
            raise InputError("recognition_weight weighs a teacher's cross-entropy: recognized must not be null")
