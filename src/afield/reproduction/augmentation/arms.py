"""The arms of paper B as recipes: fixed augmentations, and the paper's learned one with successive modifications."""

import dataclasses

from afield.augment import AugmentorConfig
from afield.augment.learned import AffineSettings
from afield.recipes import Recipe

BASELINE, DEFAULT, EVERY_IMAGE = "none", "default", "default, on every image"
METHOD, METHOD_ALONE, CORRECTED_SIGN = "printed sign + D", "printed sign, no D", "corrected sign + D"

EVERY = AugmentorConfig(probability=1.0)
"""All images are transformed, not only half of them."""
FREE = dataclasses.replace(EVERY, form="free", draw="point")
"""The augmentor of the paper: six free numbers, the same transformation for the same image."""
PAPER = AffineSettings(augmentor=FREE, sign="printed", discriminator="saturating", recognized=None, refresh=False)
CORRECTED = dataclasses.replace(PAPER, sign="corrected")
BOUNDED = dataclasses.replace(CORRECTED, augmentor=dataclasses.replace(EVERY, draw="point"), discriminator="none")
SPREAD = dataclasses.replace(BOUNDED, augmentor=EVERY)
FROZEN = AffineSettings(augmentor=EVERY, refresh=False)

LEARNED: dict[str, AffineSettings] = {
    METHOD: PAPER,
    CORRECTED_SIGN: CORRECTED,
    "corrected, non-saturating D": dataclasses.replace(CORRECTED, discriminator="non_saturating"),
    "bounded, no D": BOUNDED,
    "bounded, noise input": dataclasses.replace(BOUNDED, augmentor=dataclasses.replace(EVERY, draw="noise")),
    "distribution": SPREAD,
    "distribution, target entropy": dataclasses.replace(SPREAD, target_entropy=0.6),
    "distribution, fixed teacher weight": dataclasses.replace(SPREAD, recognized=0.9, recognition_weight=1.0),
    "distribution, adaptive teacher": FROZEN,
    "every image, no spread reward": AffineSettings(augmentor=EVERY, spread_weight=0.0),
    "every image, more entropy": AffineSettings(augmentor=EVERY, entropy_weight=5.0, spread_weight=0.02),
    "every image, recognized 0.8": AffineSettings(augmentor=EVERY, recognized=0.8),
    EVERY_IMAGE: AffineSettings(augmentor=EVERY),
    DEFAULT: AffineSettings(),
}
"""The method of the paper, then successive modifications that prevent collapses."""


def arm(
    name: str, epochs: int, learning_rate: float | None = None, *, epoch_steps: int = AffineSettings.epoch_steps
) -> Recipe:
    """Create the recipe of an arm: cross-entropy with an augmentation.

    Args:
        name: key of `LEARNED`, `METHOD_ALONE`, or name of a fixed augmentation.
        epochs: number of epochs of learning an augmentor.
        learning_rate: learning rate of the augmentor, except in the default arm.
        epoch_steps: smallest number of steps of such an epoch.
    """
    every = LEARNED | {METHOD_ALONE: dataclasses.replace(PAPER, discriminator="none")}
    if name not in every:
        return Recipe(name, augment=name)
    settings = dataclasses.replace(every[name], epochs=epochs, epoch_steps=epoch_steps)
    if learning_rate is not None and name != DEFAULT:
        settings = dataclasses.replace(settings, learning_rate=learning_rate)
    return Recipe(name, augment="learned", augment_options=dataclasses.asdict(settings))
