"""Training: settings, batches, the loop, checkpoints."""

from afield.training.loop import DivergedError, EpochReport, Parts, fit, predict
from afield.training.prepare import Prepared, prepared
from afield.training.progress import Progress
from afield.training.rowwise import RowwiseSGD
from afield.training.settings import PROTOCOLS, Training
from afield.training.source import Source, floats, resident

__all__ = [
    "PROTOCOLS",
    "DivergedError",
    "EpochReport",
    "Parts",
    "Prepared",
    "Progress",
    "RowwiseSGD",
    "Source",
    "Training",
    "fit",
    "floats",
    "predict",
    "prepared",
    "resident",
]
