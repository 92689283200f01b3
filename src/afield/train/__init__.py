"""Training: settings, batches, the loop, checkpoints."""

from afield.train.loop import DivergedError, EpochReport, Parts, Progress, fit, predict
from afield.train.settings import PROTOCOLS, Training
from afield.train.source import Source

__all__ = ["PROTOCOLS", "DivergedError", "EpochReport", "Parts", "Progress", "Source", "Training", "fit", "predict"]
