"""Training: settings, batches, the loop, checkpoints."""

from afield.training.config import PRESETS, TrainConfig
from afield.training.evaluation import predict
from afield.training.loop import DivergedError, EpochReport, fit
from afield.training.prepare import Prepared, prepared
from afield.training.sparse_sgd import SparseSGD
from afield.training.state import TrainState
from afield.training.subset import Splits, Subset, resident

__all__ = [
    "PRESETS",
    "DivergedError",
    "EpochReport",
    "Prepared",
    "SparseSGD",
    "Splits",
    "Subset",
    "TrainConfig",
    "TrainState",
    "fit",
    "predict",
    "prepared",
    "resident",
]
