"""Previews: what an augmentation does to images."""
