"""Training settings of a DAGAN: those of its paper, with an additional loss of a classifier on the variants."""

from dataclasses import dataclass, field

from afield.augment import DaganConfig
from afield.validation import Checked, setting


@dataclass(frozen=True)
class DaganSettings(Checked):
    """Losses, critic and duration of the training of a DAGAN.

    Attributes:
        augmentor: settings of the generator.
        recognition_weight: weight of the classifier's cross-entropy on the variants; 0 in the paper.
        spread_weight: weight of a reward for different variants of an image, relative to the difference of their noise;
            0 in the paper.
        critic_steps: number of steps of the critic for each step of the generator.
        penalty_weight: weight of the critic's gradient penalty.
        epochs: number of passes of the critic over the training images.
        batch_size: number of images per step.
        learning_rate: learning rate of both networks, for Adam with betas of 0 and 0.9.

    Raises:
        InputError: if a value is out of range.
    """

    augmentor: DaganConfig = field(default_factory=DaganConfig)
    recognition_weight: float = setting(0.1, high=1000)
    spread_weight: float = setting(0.0, high=1000)
    critic_steps: int = setting(5, low=1, high=1000)
    penalty_weight: float = setting(10.0, high=1000)
    epochs: int = setting(30, low=1, high=100_000)
    batch_size: int = setting(64, low=1, high=1_000_000)
    learning_rate: float = setting(1e-3, low=1e-12, high=1000)
