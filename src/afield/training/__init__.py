"""Training: batches, the loop, optimizers, checkpoints."""

from typing import TYPE_CHECKING

from afield.deprecated import renamed_attributes
from afield.settings import PRESETS, TrainConfig
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

if not TYPE_CHECKING:
    __getattr__ = renamed_attributes(__name__)
