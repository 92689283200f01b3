"""Comparisons of recipes: training with every seed and with every held-out domain."""
