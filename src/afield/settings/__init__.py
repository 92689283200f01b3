"""Training settings and presets. Does not import torch."""

from afield.settings.presets import PRESETS as PRESETS
from afield.settings.train_config import TrainConfig as TrainConfig
