"""Training settings: their one definition, and presets. Free of torch."""

from afield.settings.presets import PRESETS as PRESETS
from afield.settings.train_config import TrainConfig as TrainConfig
