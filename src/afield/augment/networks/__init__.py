"""Augmentations that are trained networks."""
