"""Augmentations that are learned on a trained classifier, and how they fail."""

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
    "Discriminator",
    "Learned",
    "Method",
    "learn_affine",
    "measure",
    "read_settings",
]
