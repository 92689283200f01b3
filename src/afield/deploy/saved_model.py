"""Saving and loading of trained models. Pickle is not used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from afield.classifier import Classifier, FeatureNorm
from afield.data.decode import MAX_PIXELS
from afield.deploy.confidence import Confidence
from afield.deploy.hub import model_folder
from afield.deploy.mean_classifier import mean_classifier
from afield.deploy.model import Model
from afield.deploy.timm_files import REST, join
from afield.errors import InputError
from afield.models import BackboneConfig, LossPrediction, Precision, build_backbone, stage_channels
from afield.models.backbone import Stem
from afield.models.weights import check_fit
from afield.names import checked_name
from afield.recipes import Recipe, recipe_from
from afield.records import decode as decode_json, read_json, write_json
from afield.runs.build import build_objective
from afield.training import checkpoint

MODEL, WEIGHTS = "model.json", "model.safetensors"

MEMBERS = "members"
"""Key of the number of models in the ``model.json`` of an ensemble."""

MOST_MEMBERS = 100

TRAINED_IMAGES = "trained_images"
"""Name of the digests of the training images beside the weights."""


def save(folder: Path, model: Model, backbone: BackboneConfig, recipe: Recipe) -> None:
    """Save a model, to be read by `load`."""
    save_weights(folder, model)
    names, network = list(model.class_names), {"name": backbone.name, "stem": backbone.stem}
    description = {"class_names": names, "image_size": model.image_size, "backbone": network}
    if model.size != (model.image_size, model.image_size):
        description["image_width"] = model.image_width
    write_json(folder / MODEL, {**description, "recipe": recipe.config(), "config": model.config})


def save_weights(folder: Path, model: Model) -> None:
    """Write the weights of a model and the digests of its training images."""
    tensors = model.classifier.state_dict()
    if model.trained_images is not None:
        tensors[TRAINED_IMAGES] = torch.from_numpy(model.trained_images.view(np.int64))
    checkpoint.save(folder / WEIGHTS, tensors, {})


def load(run: str | Path, *, precision: Precision = "32") -> Model:
    """Load the model that ``afield train`` or ``afield ensemble`` wrote to a folder, or one of the Hugging Face hub.

    Args:
        run: folder, or ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``.
        precision: see `Model`.

    Raises:
        InputError: if the folder contains no model or a damaged one, or the model cannot be downloaded.

    Example:
        >>> model = load("runs/site-model")  # doctest: +SKIP
        >>> model.predict("photo.jpg")[0].label  # doctest: +SKIP
        'dog'
    """
    folder = model_folder(run)
    if not (folder / MODEL).exists():
        what = "a comparison, not a model" if (folder / "summary.json").exists() else "no model"
        raise InputError(f"{folder} contains {what}; `afield train --out {folder}` trains one")
    if count := _members(folder / MODEL):
        return _mean([_single(member(folder, number), precision) for number in range(count)], precision)
    return _single(folder, precision)


def _single(folder: Path, precision: Precision) -> Model:
    """Load the model of a folder that is not an ensemble."""
    found = read_description(folder / MODEL)
    tensors = join(folder) if (folder / REST).exists() else checkpoint.load(folder / WEIGHTS)[0]
    trained = tensors.pop(TRAINED_IMAGES, None)
    digests = None if trained is None else trained.numpy().view(np.uint64)

    def build() -> Classifier:
        backbone, features = build_backbone(BackboneConfig(found.backbone.name, found.backbone.stem))
        objective = build_objective(recipe_from(found.recipe, str(folder / MODEL)), features, len(found.class_names))
        if "objective.prediction_shift" in tensors:
            objective.prediction_shift = torch.zeros(len(found.class_names))
        norm = FeatureNorm(features) if "feature_norm.mean" in tensors else None
        classifier = Classifier(backbone, objective, mean=(0.0,) * 3, std=(1.0,) * 3, dropout=0.0, feature_norm=norm)
        if "loss_prediction.last.weight" in tensors:
            classifier.loss_prediction = LossPrediction(stage_channels(backbone))
        return classifier

    with torch.device("meta"):  # sizes without memory: a stranger's description can ask for any
        check_fit(tensors, build(), f"{folder / WEIGHTS} does not fit {MODEL}")
    classifier = build()
    classifier.load_state_dict(tensors, strict=False)
    return Model(
        classifier.eval(),
        found.class_names,
        found.image_size,
        dict(found.config),
        found.image_width,
        digests,
        Confidence.load(folder),
        precision,
    )


def member(folder: Path, number: int) -> Path:
    """The folder of one model of an ensemble, counted from 0."""
    return folder / f"member-{number}"


def _members(path: Path) -> int:
    """The number of models of the ensemble that a ``model.json`` describes; 0 if it describes a model."""
    found = read_json(path)
    count = found.get(MEMBERS, 0) if isinstance(found, dict) else 0
    if type(count) is not int or not 0 <= count <= MOST_MEMBERS or count == 1:
        raise InputError(f"{path}: {MEMBERS} must be a number from 2 to {MOST_MEMBERS}, got {count!r}")
    return count


def _mean(models: Sequence[Model], precision: Precision) -> Model:
    """The ensemble of models with the same classes and image size."""
    first, digests = models[0], [model.trained_images for model in models]
    if any((model.class_names, model.size) != (first.class_names, first.size) for model in models):
        raise InputError("the models of an ensemble need the same classes and image size")
    known = [each for each in digests if each is not None]
    return Model(
        mean_classifier([model.classifier for model in models], [model.confidence.temperature for model in models]),
        first.class_names,
        first.image_size,
        {MEMBERS: [model.config for model in models]},
        first.image_width,
        np.unique(np.concatenate(known)) if len(known) == len(models) else None,
        precision=precision,
    )


@dataclass(frozen=True)
class _Backbone:
    """The network of a saved model. Its weights are in the folder of the model; no other file is read."""

    name: str
    stem: Stem


@dataclass(frozen=True)
class Description:
    """The content of ``model.json``; `adapted` is that of `afield.deploy.adapt`."""

    class_names: tuple[str, ...]
    image_size: int
    backbone: _Backbone
    recipe: Mapping[str, Any]
    config: Mapping[str, Any]
    image_width: int | None = None
    adapted: Mapping[str, Any] | None = None


def read_description(path: Path) -> Description:
    """Read and check the description of a model.

    Raises:
        InputError: if it is not valid, or that of an ensemble.
    """
    if count := _members(path):
        raise InputError(
            f"{path.parent} is an ensemble of {count} models; use one of them, as {member(path.parent, 0)}"
        )
    found: Description = decode_json(Description, read_json(path), f"{path}:")
    try:
        names = [checked_name(name, "class") for name in found.class_names]
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"{path}: class_names must contain at least two different names, without duplicates")
    width = found.image_size if found.image_width is None else found.image_width
    if min(found.image_size, width) < 1 or found.image_size * width > MAX_PIXELS:
        raise InputError(f"{path}: images must have 1 to {MAX_PIXELS:,} pixels, got {found.image_size} x {width}")
    return found
