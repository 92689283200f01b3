"""Presets: named training settings."""

import dataclasses
from typing import Any

from afield.registry import Registry
from afield.settings.train_config import TrainConfig

PRESETS: Registry[TrainConfig] = Registry("preset")

PRESETS.add(
    "scratch",
    TrainConfig(epochs=30, batch_size=64, learning_rate=0.1, warmup=0.1, augment="crop"),
    summary="Training from scratch on small images: SGD with learning rate 0.1, cosine schedule, random crops.",
)
PRESETS.add(
    "digits",
    TrainConfig(epochs=8, batch_size=64, learning_rate=0.1, warmup=0.1, augment="crop"),
    summary="`scratch` with 8 epochs, for the embedded digits; takes one or two minutes on two CPU cores.",
)
PRESETS.add(
    "colored_digits",
    TrainConfig(epochs=5, batch_size=64, learning_rate=0.1, warmup=0.1, augment="crop"),
    summary="`scratch` with 5 epochs, for the default comparison; takes less than a minute on two CPU cores.",
)
PRESETS.add(
    "fast_cifar",
    TrainConfig(
        epochs=10,
        batch_size=1024,
        optimizer="nesterov",
        learning_rate=1.5,
        norm_bias_rate=64.0,
        momentum=0.85,
        weight_decay=1.33e-3,
        schedule="linear",
        warmup=0.23,
        augment="translate+alternating_flip",
    ),
    summary="`whitened_vgg` on 32-pixel images, ten epochs: Nesterov SGD, triangular schedule, fast norm biases.",
    reference="Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024.",
)
PRESETS.add(
    "frozen",
    TrainConfig(epochs=12, batch_size=128, learning_rate=0.02, dropout=0.2),
    summary="Training of a head on frozen features: SGD with learning rate 0.02, cosine schedule, dropout 0.2.",
)
PRESETS.add(
    "partial",
    TrainConfig(epochs=8, batch_size=64, learning_rate=0.01, dropout=0.2, warmup=0.1),
    summary="Training of the last stages of a pretrained backbone: SGD with learning rate 0.01, cosine schedule.",
)
PRESETS.add(
    "flattening_paper",
    TrainConfig(epochs=30, batch_size=128, learning_rate=0.004, schedule="step", augment="crop_flip_jitter"),
    summary="Fine-tuning as in paper A: SGD with learning rate 0.004, a step after 80 %, JiGen's augmentation.",
    reference="Complement flattening for domain generalization, 2020, section 4.",
)


def values_by_preset(name: str) -> dict[str, Any]:
    """The default of a training setting, under an empty name, and its value in each preset that differs from it."""
    default = next(field.default for field in dataclasses.fields(TrainConfig) if field.name == name)
    values = {entry.name: getattr(entry.value, name) for entry in PRESETS}
    return {"": default} | {preset: value for preset, value in values.items() if value != default}
