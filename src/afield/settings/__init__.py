"""Training settings and presets. Does not import torch."""

from afield.settings.presets import PRESETS as PRESETS, values_by_preset as values_by_preset
from afield.settings.train_config import TrainConfig as TrainConfig
