"""Runs: one recipe trained once, in a folder of its own."""
