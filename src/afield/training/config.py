"""How training runs: optimizer, schedule, batch, epochs. Shared by all recipes of a comparison."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from afield.errors import InputError
from afield.registry import Registry
from afield.validation import check_ranges

_RANGES = (
    ("epochs", 1, 100_000),
    ("batch_size", 1, 1_000_000),
    ("learning_rate", 1e-12, 1e3),
    ("norm_bias_rate", 1e-3, 1e3),
    ("momentum", 0, 0.9999),
    ("weight_decay", 0, 10),
    ("warmup", 0, 1),
    ("step_at", 0, 1),
    ("step_factor", 0, 1),
    ("dropout", 0, 0.99),
)


@dataclass(frozen=True)
class TrainConfig:
    """Everything about training that is not the recipe.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step, over all devices.
        accumulate: in how many pieces a batch is learned from, so that it fits into memory: the gradients add up to the
            same, but for batch normalization and what else looks at several images together.
        optimizer: ``sgd`` (with momentum), ``nesterov`` (the same with Nesterov's momentum) or ``adamw``.
        learning_rate: at its peak.
        norm_bias_rate: what the rate of normalization layers' biases is multiplied by; their weight decay is divided
            by it, so that they shrink as fast as other parameters.
        momentum: of SGD; the first beta of AdamW.
        weight_decay: L2 for SGD, decoupled for AdamW.
        schedule: ``constant``; ``step``, times `step_factor` after `step_at` of the steps; ``cosine`` or ``linear``
            to 0.
        warmup: share of the steps in which the rate rises linearly from 0.
        step_at: share of the steps.
        step_factor: what the rate is multiplied by.
        dropout: probability, on the features before the head.
        augment: name in ``afield.augment.AUGMENTATIONS``, a file, or several joined by ``+``; for recipes without
            one of their own.
        sampling: how batches are drawn: ``shuffled`` over all domains; ``balanced``, with equally many images of each;
            ``auto``, as the algorithm says.
        precision: ``32``, or ``bf16`` for mixed precision.
    """

    epochs: int = 30
    batch_size: int = 128
    accumulate: int = 1
    optimizer: Literal["sgd", "nesterov", "adamw"] = "sgd"
    learning_rate: float = 0.02
    norm_bias_rate: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["constant", "step", "cosine", "linear"] = "cosine"
    warmup: float = 0.0
    step_at: float = 0.8
    step_factor: float = 0.1
    dropout: float = 0.0
    augment: str = "none"
    sampling: Literal["auto", "shuffled", "balanced"] = "auto"
    precision: Literal["32", "bf16"] = "32"

    def __post_init__(self) -> None:
        check_ranges(self, (*_RANGES, ("accumulate", 1, self.batch_size)))
        _one_of("optimizer", self.optimizer, ("sgd", "nesterov", "adamw"))
        _one_of("schedule", self.schedule, ("constant", "step", "cosine", "linear"))
        _one_of("sampling", self.sampling, ("auto", "shuffled", "balanced"))
        _one_of("precision", self.precision, ("32", "bf16"))

    def learning_rate_at(self, step: int, steps: int) -> float:
        """The rate at step 0 ... steps - 1."""
        rise = self.warmup * steps
        if step < rise:
            return self.learning_rate * (step + 1) / (rise + 1)
        match self.schedule:
            case "constant":
                return self.learning_rate
            case "step":
                return self.learning_rate * (self.step_factor if step >= self.step_at * steps else 1)
            case "linear":
                return self.learning_rate * (steps - step) / (steps - rise)
            case "cosine":
                return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")


PRESETS: Registry[TrainConfig] = Registry("preset")

PRESETS.add(
    "scratch",
    TrainConfig(epochs=30, batch_size=64, learning_rate=0.1, warmup=0.1, augment="crop"),
    summary="Small images, no pretrained weights: SGD at 0.1, cosine, crops.",
    reference="-",
)
PRESETS.add(
    "digits",
    TrainConfig(epochs=8, batch_size=64, learning_rate=0.1, warmup=0.1, augment="crop"),
    summary="`scratch` in 8 epochs: the embedded digits in a minute or two on two cores.",
    reference="-",
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
    summary="`whitened_vgg` at 32 px in ten epochs: Nesterov SGD, a triangle, fast biases.",
    reference="Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024.",
)
PRESETS.add(
    "frozen",
    TrainConfig(epochs=12, batch_size=128, learning_rate=0.02, dropout=0.2),
    summary="A head on frozen features: SGD at 0.02, cosine, dropout 0.2.",
    reference="-",
)
PRESETS.add(
    "flattening_paper",
    TrainConfig(epochs=30, batch_size=128, learning_rate=0.004, schedule="step", augment="crop_flip_jitter"),
    summary="Fine-tuning as in paper A: SGD at 0.004, a step after 80 %, JiGen's augmentation.",
    reference="Complement flattening for domain generalization, 2020, section 4.",
)
