"""Training settings: their one definition, and presets. Free of torch."""

from afield.settings.presets import PRESETS
from afield.settings.train_config import TrainConfig

__all__ = ["PRESETS", "TrainConfig"]
