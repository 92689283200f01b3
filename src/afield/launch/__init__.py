"""Launchers, which execute the runs of a comparison locally, on Ray or on Slurm."""
