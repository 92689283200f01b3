"""Training settings of the affine augmentor: those of the paper, and options that prevent a collapse."""

from dataclasses import dataclass, field
from typing import Literal

from afield.augment import AugmentorConfig
from afield.errors import InputError
from afield.losses.max_entropy import Form, Sign
from afield.validation import Checked, setting


@dataclass(frozen=True)
class AffineSettings(Checked):
    """Losses, opponents and duration of the training of an affine augmentor. The defaults do not collapse.

    Attributes:
        augmentor: settings of the augmentor.
        sign: sign of the entropy loss. ``corrected`` raises the classifier's entropy; ``printed`` is the formula of the
            paper.
        form: form of the entropy loss: ``log`` of the gap to the largest entropy, as in the paper, or the ``gap``.
        entropy_weight: weight of the entropy loss, lambda in the paper.
        target_entropy: target of the entropy as a fraction of the largest entropy; None maximizes the entropy.
        discriminator: adversarial loss of the augmentor: ``none``, ``saturating`` (the paper), or ``non_saturating``.
        recognized: fraction of the images recognized by the teacher that it must still recognize after the
            transformation. The weight of its cross-entropy adapts to reach this fraction. None: no teacher.
        recognition_weight: fixed weight of the teacher's cross-entropy, instead of the adaptive weight.
        spread_weight: weight of a reward for wide distributions, the logarithm of their widths.
        refresh: whether a copy of the classifier is trained on the transformed images. The teacher is then its moving
            average. Otherwise, neither changes.
        refresh_rate: learning rate of that classifier, for SGD with momentum 0.9.
        epochs: largest number of epochs.
        epoch_steps: smallest number of steps of an epoch. An epoch is one pass over the training images, or, with few
            images, as many passes as are needed.
        stop_steps: number of steps after which training stops at the end of the first epoch that meets the target: no
            collapse, and `recognized` is reached within 0.05 on training images. None, or `recognized` None: never.
        batch_size: number of images per step.
        learning_rate: learning rate of the augmentor, for Adam.
        discriminator_rate: learning rate of the discriminator, for SGD.

    Raises:
        InputError: if a value is out of range or unknown, or settings contradict each other.
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
    epoch_steps: int = setting(40, low=1, high=1_000_000)
    stop_steps: int | None = setting(400, low=1, high=1_000_000)
    batch_size: int = setting(128, low=1, high=1_000_000)
    learning_rate: float = setting(1e-3, low=1e-12, high=1000)
    discriminator_rate: float = setting(1e-4, low=1e-12, high=1000)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form == "gap" and self.sign == "printed":
            raise InputError("form=gap needs sign=corrected; sign=printed is defined only for form=log")
        if self.target_entropy is not None and self.sign == "printed":
            raise InputError("target_entropy needs sign=corrected: its loss has no sign, because it has a target")
        if self.recognition_weight is not None and self.recognized is None:
            raise InputError(
                "recognition_weight is the weight of the teacher's cross-entropy, so that recognized must not be null"
            )
