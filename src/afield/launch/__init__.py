"""Launchers: who executes the runs of a comparison, and where."""
