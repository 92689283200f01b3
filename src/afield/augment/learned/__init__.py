"""Augmentations that are learned on a trained classifier, and their failures."""

from afield.augment.learned.affine.game import AffineGame
from afield.augment.learned.affine.learn import learn_affine
from afield.augment.learned.affine.measures import measure
from afield.augment.learned.affine.settings import AffineSettings
from afield.augment.learned.dagan.critic import Critic
from afield.augment.learned.dagan.game import DaganGame
from afield.augment.learned.dagan.learn import learn_dagan
from afield.augment.learned.dagan.measures import measure_variants
from afield.augment.learned.dagan.settings import DaganSettings
from afield.augment.learned.discriminator import Discriminator
from afield.augment.learned.loop import Learned
from afield.augment.learned.registry import AUGMENTORS, Method, read_settings

__all__ = [
    "AUGMENTORS",
    "AffineGame",
    "AffineSettings",
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
