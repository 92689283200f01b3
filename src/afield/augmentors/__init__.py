"""Augmentations that are learned on a trained classifier, and how they fail."""

from afield.augmentors.critic import Critic
from afield.augmentors.dagan import learn_dagan
from afield.augmentors.dagan_game import DaganGame
from afield.augmentors.dagan_measures import measure_variants
from afield.augmentors.dagan_settings import DaganSettings
from afield.augmentors.discriminator import Discriminator
from afield.augmentors.game import AffineGame
from afield.augmentors.learn import learn_affine
from afield.augmentors.measures import measure
from afield.augmentors.registry import AUGMENTORS, Augmentor, Learned, Method, read_settings
from afield.augmentors.settings import AffineSettings

__all__ = [
    "AUGMENTORS",
    "AffineGame",
    "AffineSettings",
    "Augmentor",
    "Critic",
    "DaganGame",
    "DaganSettings",
    "Discriminator",
    "Learned",
    "Method",
    "learn_affine",
    "learn_dagan",
    "measure",
    "measure_variants",
    "read_settings",
]
