"""Training: batches, the training loop, optimizers and checkpoints."""

from typing import TYPE_CHECKING

from afield.deprecated import renamed_attributes
from afield.settings import PRESETS as PRESETS, TrainConfig as TrainConfig
from afield.training.evaluation import predict as predict
from afield.training.loop import DivergedError as DivergedError, EpochReport as EpochReport, fit as fit
from afield.training.prepare import Prepared as Prepared, prepared as prepared
from afield.training.sparse_sgd import SparseSGD as SparseSGD
from afield.training.state import TrainState as TrainState
from afield.training.subset import Splits as Splits, Subset as Subset, resident as resident

if not TYPE_CHECKING:
    __getattr__ = renamed_attributes(__name__)
