"""Searches: augmentation policies for one's own images."""
