"""Sweeps: random draws of settings, a selection that does not see the test domain, and fresh seeds of the best draw."""

SUMMARY = "sweep.json"
"""The file of the summary of a sweep in its folder."""
