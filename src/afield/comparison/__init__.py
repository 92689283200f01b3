"""Comparisons: every recipe with every seed, leaving out one domain at a time."""
