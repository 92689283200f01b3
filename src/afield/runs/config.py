"""What every run of a comparison shares: data, backbone, split, training."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from afield.augment import chain_key
from afield.data import ImageSet, Unlabeled, Validation
from afield.errors import InputError
from afield.models import BACKBONES, BackboneConfig
from afield.training import PRESETS, TrainConfig

LEAST_BATCHES = 32
"""What training has in memory beside its model: batches of bytes; one of floats is as large as four."""

MIRRORED = {"crop_flip": "crop", "crop_flip_jitter": "crop", "alternating_flip": "none"}
"""Augmentations of the presets that mirror images, and what is left of each where they must not."""


@dataclass(frozen=True)
class ExperimentConfig:
    """Everything that decides a run's result, but for recipe, seed and what is held out.

    Attributes:
        data: the images.
        backbone: what extracts features.
        freeze: whether only the head is trained.
        validation: how validation images are drawn.
        training: settings that recipes share; with `tuning`, those of the first stage.
        memory: how many bytes the images may take where they need more, else None; it decides how they are shuffled.
        tuning: settings of a last stage, in which recipes apply their own augmentation; see `afield.runs.stages`.
        unlabeled: which images of the unseen parts recipes can adapt to; None gives them none.
    """

    data: ImageSet
    backbone: BackboneConfig
    freeze: bool
    validation: Validation
    training: TrainConfig
    memory: int | None = None
    tuning: TrainConfig | None = None
    unlabeled: Unlabeled | None = None

    def __post_init__(self) -> None:
        if self.freeze and self.training.augment != "none":
            raise InputError("--freeze extracts features once, so that --augment has nothing to act on")

    def config(self) -> dict[str, Any]:
        """What a record and a run's hash say: files are named by their content, not by where they lie."""
        return {
            "data": {
                "name": Path(self.data.name).name,
                "fingerprint": self.data.fingerprint,
                "image_size": self.data.images.shape[1],
            },
            "backbone": {
                "name": self.backbone.name,
                "stem": self.backbone.stem,
                "weights": self.backbone.weights_key,
                "freeze": self.freeze,
            },
            "validation": {
                "fraction": self.validation.fraction,
                "stratified": self.validation.stratified,
                "lists": _lists_key(self.validation.lists),
            },
            "training": _training_key(self.training),
            **({} if self.memory is None else {"memory": self.memory}),
            **({} if self.tuning is None else {"tuning": _training_key(self.tuning)}),
            **({} if self.unlabeled is None else {"unlabeled": dataclasses.asdict(self.unlabeled)}),
        }


def choose_preset(data: str, backbone: BackboneConfig, freeze: bool) -> str:
    """The preset where none is named: by whether the backbone is frozen, and whether it is pretrained."""
    if freeze:
        return "frozen"
    if backbone.weights != "none":
        return "flattening_paper"
    return "digits" if data == "digits" else "scratch"


def choose_training(preset: str, **settings: Any) -> TrainConfig:
    """A preset with the settings that are not None put in."""
    given = {name: value for name, value in settings.items() if value is not None}
    return dataclasses.replace(PRESETS[preset], **given)


def choose_threads(setup: ExperimentConfig, threads: int | None) -> int:
    """CPU threads for each run, unless given: one for small networks, so that several runs fit side by side."""
    if threads is not None:
        return threads
    return 1 if setup.freeze or setup.backbone.name in BACKBONES else torch.get_num_threads()


def choose_memory(data: ImageSet, batch_size: int, allowed: int | None) -> int | None:
    """How many bytes the images may take, if they take more than are allowed.

    Raises:
        InputError: too few for the batches that are under way at a time.
    """
    if allowed is None or data.images.nbytes <= allowed:
        return None
    if allowed < (least := LEAST_BATCHES * batch_size * data.images[:1].nbytes):
        raise InputError(
            f"--memory must be at least {math.ceil(least / 1e6):,}MB for batches of {batch_size} such images, "
            f"got {allowed / 1e6:g}MB"
        )
    return allowed


def keep_class(training: TrainConfig, data: ImageSet) -> TrainConfig:
    """The same training without mirror images, where a mirrored image is of another class."""
    if data.flippable:
        return training
    parts = [MIRRORED.get(part, part) for part in training.augment.split("+")]
    return dataclasses.replace(training, augment="+".join(parts))


def _training_key(training: TrainConfig) -> dict[str, Any]:
    return {**dataclasses.asdict(training), "augment": chain_key(training.augment)}


def _lists_key(folder: str | None) -> str | None:
    """A hash of the split lists in a folder."""
    if folder is None:
        return None
    texts = [file.name + file.read_text() for file in sorted(Path(folder).glob("*.txt"))]
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]
