"""The configuration that all runs of an experiment share: data, backbone, split and training."""

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from afield.augment import chain_key
from afield.data import ImageSet, Unlabeled, Validation
from afield.errors import InputError
from afield.models import BACKBONES, BackboneConfig
from afield.training import PRESETS, TrainConfig
from afield.validation import check_number

LEAST_BATCHES = 32
"""Memory of training without the model, in uint8 batches. A float32 batch counts as four of them."""

LATER = ("class_", "layer_decay", "batch_norm", "clip_grad", "patience")
"""First letters of settings that earlier versions did not have."""

VIEWS_AUGMENT = "crop_flip"
"""The default augmentation of stored views."""

EMBEDDED = ("digits", "colored_digits")
"""Data sets with a preset of the same name."""

MIRRORED = {"crop_flip": "crop", "crop_flip_jitter": "crop", "alternating_flip": "none"}
"""Augmentations of the presets that mirror images, and the replacement of each without mirroring."""


@dataclass(frozen=True)
class PartialTraining:
    """Training of the last stages of the backbone, on activations that are stored once.

    The stages before them do not change and are in evaluation mode.

    Attributes:
        stage: first stage that trains; see `afield.models.divide`.
        dtype: number format of the stored activations.
    """

    stage: str
    dtype: Literal["float16", "float32"] = "float16"


@dataclass(frozen=True)
class ExperimentConfig:
    """All settings that determine the result of a run, except the recipe, the seed and the held-out parts.

    Attributes:
        data: data set.
        backbone: backbone and its weights.
        freeze: whether the backbone is frozen and only the head is trained.
        validation: options for drawing validation images.
        training: training settings shared by all recipes. With `tuning`, these are the settings of the first stage.
        memory: memory limit for the images, in bytes, if they exceed it; otherwise None. It affects the order of the
            images.
        tuning: settings of a last stage, in which recipes use their own augmentation; see `afield.runs.stages`.
        unlabeled: the images of the unseen parts that recipes can adapt to; None if there are none.
        metric: name of the metric on validation images that selects the saved epoch of a run.
        train_domains: domains to train on; empty for all that are not held out.
        partial: which part of the backbone trains, on stored activations; None for all of it, or none with `freeze`.
        views: number of stored views of each image, with `freeze` or `partial`: the image itself, and augmented images.
            Each epoch trains on one of them, at random. A recipe without an augmentation has the first view only.
        why_backbone: why this backbone was chosen, for the user; empty if the user chose it. It changes no result.
    """

    data: ImageSet
    backbone: BackboneConfig
    freeze: bool
    validation: Validation
    training: TrainConfig
    memory: int | None = None
    tuning: TrainConfig | None = None
    unlabeled: Unlabeled | None = None
    metric: str = "accuracy"
    train_domains: tuple[str, ...] = ()
    partial: PartialTraining | None = None
    views: int = 1
    why_backbone: str = ""

    def __post_init__(self) -> None:
        check_number("--views", self.views, 1, 100, whole=True)
        if self.freeze and self.partial is not None:
            raise InputError("--freeze and --train-from are mutually exclusive")
        if self.views > 1 and not self.stores:
            raise InputError("--views needs --freeze or --train-from")

    @property
    def stores(self) -> str:
        """The option by which training uses stored features in place of images; empty if it uses images."""
        return "--freeze" if self.freeze else "--train-from" if self.partial is not None else ""

    def config(self) -> dict[str, Any]:
        """The settings for records and hashes of runs. Files are identified by content, not by path."""
        return self._config

    @cached_property
    def _config(self) -> dict[str, Any]:
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
                **({} if self.partial is None else {"partial": dataclasses.asdict(self.partial)}),
                **({} if self.views == 1 else {"views": self.views}),
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
            **({} if self.metric == "accuracy" else {"metric": self.metric}),
            **({"train_domains": sorted(self.train_domains)} if self.train_domains else {}),
        }


def choose_preset(data: str, backbone: BackboneConfig, freeze: bool, partial: bool) -> str:
    """The default preset. It depends on whether the backbone is frozen, trained in part, or pretrained."""
    if freeze:
        return "frozen"
    if partial:
        return "partial"
    if backbone.weights != "none":
        return "flattening_paper"
    return data if data in EMBEDDED else "scratch"


def choose_training(preset: str, **settings: Any) -> TrainConfig:
    """A preset with the given settings replaced, except those that are None."""
    given = {name: value for name, value in settings.items() if value is not None}
    return dataclasses.replace(PRESETS[preset], **given)


def choose_threads(setup: ExperimentConfig, threads: int | None) -> int:
    """CPU threads per run. The default is one for small networks, so that several runs can be parallel."""
    if threads is not None:
        return threads
    return 1 if setup.stores or setup.backbone.name in BACKBONES else torch.get_num_threads()


def choose_memory(data: ImageSet, batch_size: int, allowed: int | None) -> int | None:
    """The memory limit in bytes if the images exceed it, otherwise None.

    Raises:
        InputError: if the limit is too small for the batches that are in memory at the same time, or images have
            weights.
    """
    if allowed is None or data.images.nbytes <= allowed:
        return None
    if data.weights is not None:
        raise InputError("--memory cannot be combined with weights of images; ignore them with --columns weight=")
    if allowed < (least := LEAST_BATCHES * batch_size * data.images[:1].nbytes):
        raise InputError(
            f"--memory must be at least {math.ceil(least / 1e6):,}MB for batches of {batch_size} such images, "
            f"got {allowed / 1e6:g}MB"
        )
    return allowed


def keep_class(training: TrainConfig, data: ImageSet) -> TrainConfig:
    """The training settings without mirroring, if mirrored images would change their class."""
    if data.flippable:
        return training
    parts = [MIRRORED.get(part, part) for part in training.augment.split("+")]
    return dataclasses.replace(training, augment="+".join(parts))


def _training_key(training: TrainConfig) -> dict[str, Any]:
    """The training settings. Those in `LATER` are omitted at their default, so that the hashes of earlier runs stay."""
    default = TrainConfig()
    settings = {**dataclasses.asdict(training), "augment": chain_key(training.augment)}
    return {
        name: value
        for name, value in settings.items()
        if not (name.startswith(LATER) and value == getattr(default, name))
    }


def _lists_key(folder: str | None) -> str | None:
    """A hash of the split lists in a folder."""
    if folder is None:
        return None
    texts = [file.name + file.read_text() for file in sorted(Path(folder).glob("*.txt"))]
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]
