"""Training: settings, batches, the loop, checkpoints."""

from afield.training.loop import DivergedError, EpochReport, Parts, fit, predict
from afield.training.progress import Progress
from afield.training.rowwise import RowwiseSGD
from afield.training.settings import PROTOCOLS, Training
from afield.training.source import Source

__all__ = [
    "PROTOCOLS",
    "DivergedError",
    "EpochReport",
    "Parts",
    "Progress",
    "RowwiseSGD",
    "Source",
    "Training",
    "fit",
    "predict",
]
