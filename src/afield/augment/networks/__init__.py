"""Augmentations by trained networks."""
