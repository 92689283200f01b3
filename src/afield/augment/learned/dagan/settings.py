"""How a DAGAN learns: as in its paper, but for a classifier that must recognize what it makes."""

from __future__ import annotations

from dataclasses import dataclass, field

from afield.augment import DaganConfig
from afield.validation import Checked, setting


@dataclass(frozen=True)
class DaganSettings(Checked):
    """What the generator minimizes, against which critic, and for how long.

    Attributes:
        augmentor: what it is made of, and how often it is applied.
        recognition_weight: of the classifier's cross-entropy on the variants; 0: as in the paper.
        spread_weight: reward for how far two variants of an image lie apart, for how far their noise does; 0: as in
            the paper.
        critic_steps: of the critic for each one of the generator.
        penalty_weight: of the critic's gradient penalty.
        epochs: passes of the critic over the training images.
        batch_size: images a step.
        learning_rate: of both, for Adam with betas of 0 and 0.9.

    Raises:
        InputError: a value outside its range.
    """

    augmentor: DaganConfig = field(default_factory=DaganConfig)
    recognition_weight: float = setting(0.1, high=1000)
    spread_weight: float = setting(0.0, high=1000)
    critic_steps: int = setting(5, low=1, high=1000)
    penalty_weight: float = setting(10.0, high=1000)
    epochs: int = setting(30, low=1, high=100_000)
    batch_size: int = setting(64, low=1, high=1_000_000)
    learning_rate: float = setting(1e-3, low=1e-12, high=1000)
