"""Augmentations of float batches ``[B, 3, H, W]`` in [0, 1], with a draw for each image."""

from afield.augment.registry import AUGMENTATIONS, Augmentation
from afield.augment.standard import Identity, Standard

__all__ = ["AUGMENTATIONS", "Augmentation", "Identity", "Standard"]
