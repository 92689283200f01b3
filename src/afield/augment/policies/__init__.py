"""Policies: random operations for each image."""
