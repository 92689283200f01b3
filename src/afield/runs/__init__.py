"""Runs: one training of one recipe, in its own folder."""
