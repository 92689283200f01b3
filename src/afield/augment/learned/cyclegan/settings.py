"""Training settings of a CycleGAN: those of its paper, and the classes between which it translates."""

from dataclasses import dataclass, field

from afield.augment import TranslatorConfig
from afield.validation import Checked, setting


@dataclass(frozen=True)
class CycleGanSettings(Checked):
    """Classes, losses and duration of the training of a CycleGAN.

    Attributes:
        reference: name of the class whose images are translated; by default the class with the most training images.
        targets: names of the classes that get the translations, joined by commas; by default all classes with fewer
            than half as many training images as the reference. Each target has its own networks, so that the duration
            grows with their number.
        probability: probability that an image of the reference is replaced. The targets with the fewest images get the
            translations first. None: the expected numbers of images of the reference and of the targets become equal.
        network: size of the translators.
        cycle_weight: weight of the cycle consistency, lambda in the paper, for pixel values in [-1, 1].
        identity_weight: weight of the identity loss, ``0.5 * lambda`` in the paper.
        pool: number of earlier translations that the discriminators also see, for each target and direction.
        epochs: number of epochs.
        epoch_steps: smallest number of steps of an epoch. An epoch is one pass over the images of the reference, or,
            with few images, as many passes as are needed.
        batch_size: number of images of each class per step; 1 in the paper.
        learning_rate: learning rate of all networks, for Adam with betas of 0.5 and 0.999. It is constant.

    Raises:
        InputError: if a value is out of range.
    """

    reference: str | None = setting(None, values="the name of a class, in quotes if it is a number")
    targets: str | None = setting(None, values="names of classes joined by commas, in quotes if it is a number")
    probability: float | None = setting(None, high=1)
    network: TranslatorConfig = field(default_factory=TranslatorConfig)
    cycle_weight: float = setting(10.0, high=1000)
    identity_weight: float = setting(5.0, high=1000)
    pool: int = setting(50, high=100_000)
    epochs: int = setting(20, low=1, high=100_000)
    epoch_steps: int = setting(100, low=1, high=1_000_000)
    batch_size: int = setting(16, low=1, high=1_000_000)
    learning_rate: float = setting(2e-4, low=1e-12, high=1000)
