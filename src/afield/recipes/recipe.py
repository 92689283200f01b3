"""What is compared: a recipe changes objective, augmentation, algorithm and training, never the architecture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Any, get_origin, get_type_hints

from afield.augment import chain_key
from afield.errors import InputError, unknown_name
from afield.names import checked_name
from afield.records import is_json
from afield.settings import TrainConfig
from afield.validation import check_number, settings_of

OWN_SETTINGS = settings_of(TrainConfig).keys() - {"augment", "precision"}
"""Training settings that a recipe's `training` may have: `augment` is a field, and all runs share `precision`."""


@dataclass(frozen=True)
class Recipe:
    """A head, weighted losses, an augmentation, an algorithm, and training settings that differ from the shared ones.

    Attributes:
        name: name in tables.
        head: name in ``afield.heads.HEADS``.
        head_options: keyword arguments of the head, as ``{"margin_rad": 0.2}``.
        losses: weight by name in ``afield.losses.LOSSES``.
        loss_options: keyword arguments by loss name, as ``{"label_smoothing": {"smoothing": 0.2}}``.
        linear_losses: weight by name, for losses on the head's class vectors as a linear layer; see `Objective`.
        neck: whether a linear layer with batch normalization precedes the head.
        augment: name in ``afield.augment.AUGMENTATIONS``; a file; a name in ``afield.augment.learned.AUGMENTORS``,
            which each run learns on its own training images; or several joined by ``+``. None takes the preset's.
        augment_options: settings of the learned augmentation, as ``{"recognized": 0.8}``.
        algorithm: name in ``afield.algorithms.ALGORITHMS``.
        algorithm_options: keyword arguments of the algorithm, as ``{"penalty": 10.0}``.
        averaging: name in ``afield.algorithms.AVERAGINGS``: predict with weights averaged over training.
        averaging_options: keyword arguments of the averaging, as ``{"tolerance": 1.2}``.
        training: settings of `TrainConfig` that replace the shared ones, as ``{"learning_rate": 0.001}``.

    Raises:
        InputError: a name that cannot be shown, a value of the wrong type or out of range, or a setting that a recipe
            cannot have.
    """

    name: str
    head: str = "linear"
    head_options: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=lambda: {"cross_entropy": 1.0})
    loss_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    linear_losses: Mapping[str, float] = field(default_factory=dict)
    neck: bool = False
    augment: str | None = None
    augment_options: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str = "erm"
    algorithm_options: Mapping[str, Any] = field(default_factory=dict)
    averaging: str | None = None
    averaging_options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"recipe {self.name!r}"
        for name, hint in get_type_hints(Recipe).items():
            value, kind = getattr(self, name), hint if isinstance(hint, UnionType) else get_origin(hint) or hint
            if not isinstance(value, kind):
                raise InputError(f"{where}: {name} cannot be {value!r}")
        object.__setattr__(self, "name", checked_name(self.name, "recipe"))
        if not self.losses:
            raise InputError(f"{where} has no losses")
        for loss, weight in (*self.losses.items(), *self.linear_losses.items()):
            check_number(f"{where}: the weight of {loss}", weight, 0, 1000)
        for loss, options in self.loss_options.items():
            if not isinstance(options, Mapping):
                raise InputError(f"{where}: the options of {loss} cannot be {options!r}")
        for name in get_type_hints(Recipe):
            if not is_json(value := getattr(self, name)):
                raise InputError(f"{where}: {name} cannot be {value!r}")
        for name, value in self.training.items():
            if name == "precision":
                raise InputError(f"{where}: all runs share the precision; set it with --precision, not in a recipe")
            if name not in OWN_SETTINGS:
                unknown_name(f"training setting in {where}:", name, OWN_SETTINGS)
            settings_of(TrainConfig)[name].check(f"{where}: {name}", value)

    def train_config(self, shared: TrainConfig) -> TrainConfig:
        """The shared settings with this recipe's own in their place.

        Raises:
            InputError: settings that contradict each other, as more micro-batches than images in a batch.
        """
        return dataclasses.replace(shared, **self.training)

    def config(self) -> dict[str, Any]:
        """What a record and a run's hash say, as JSON can hold it: files are named by their content."""
        return {**dataclasses.asdict(self), "augment": self.augment and chain_key(self.augment)}
