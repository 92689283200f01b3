"""Trained models: saving, loading and prediction."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from afield.adaptation import with_backbone
from afield.algorithms.learning_loss import features_and_losses
from afield.classifier import Classifier, FeatureNorm
from afield.data.decode import MAX_PIXELS, BadImageError, decode, squash, upright_rgb
from afield.deploy.confidence import Confidence
from afield.deploy.hub import model_folder
from afield.deploy.mean_classifier import mean_classifier
from afield.deploy.timm_files import REST, join
from afield.errors import InputError
from afield.models import BackboneConfig, LossPrediction, Precision, build_backbone, fast_inference, stage_channels
from afield.models.backbone import Stem
from afield.models.weights import check_fit
from afield.names import checked_name
from afield.pixels import to_batch
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

Picture = str | Path | Image.Image | NDArray[np.uint8]
BATCH = 64


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        path: path of the file; None if the image was not a file.
        label: name of the most probable class.
        probability: probability of this class, in [0, 1].
        probabilities: probability of every class, by name.
    """

    path: str | None
    label: str
    probability: float
    probabilities: dict[str, float]

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Classes with their probabilities, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])

    @property
    def margin(self) -> float:
        """The difference between the two largest probabilities."""
        (_, first), (_, second), *_ = self.ranked
        return first - second

    @property
    def entropy(self) -> float:
        """The entropy of the probabilities, in nats."""
        return -sum(p * math.log(p) for p in self.probabilities.values() if p > 0)


@dataclass(frozen=True)
class Model:
    """A trained classifier with its class names and image size.

    Attributes:
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``, in evaluation mode.
        class_names: names of the K classes.
        image_size: height H of the images, in pixels.
        config: configuration of the run that trained the model.
        image_width: width W of the images, in pixels; None if images are square.
        trained_images: digests of the pixels of all images that trained the model or selected its epoch, uint64 ``[N]``
            (`afield.data.images.pixel_digest`); None for models of earlier versions.
        confidence: temperature of the probabilities, and measurements of them.
        precision: numeric precision of the backbone in the methods below: ``32``, or ``bf16``, which is faster on CPUs
            that compute in it, and changes the results.
    """

    classifier: Classifier
    class_names: tuple[str, ...]
    image_size: int
    config: dict[str, Any]
    image_width: int | None = None
    trained_images: NDArray[np.uint64] | None = None
    confidence: Confidence = field(default_factory=Confidence)
    precision: Precision = "32"

    @cached_property
    def inference(self) -> Classifier:
        """The classifier with a faster copy of its backbone (`afield.models.fast_inference`), made at the first use."""
        return with_backbone(self.classifier, fast_inference(self.classifier.backbone, self.size, self.precision))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images, in pixels."""
        return self.image_size, self.image_width or self.image_size

    def logits(self, images: NDArray[np.uint8]) -> Tensor:
        """Compute logits ``[N, K]``, float32 on the CPU, from uint8 images ``[N, H, W, 3]``.

        Raises:
            InputError: if a logit is NaN or infinite.
        """
        return _finite(self._batches(self.inference.logits, images), "logits")

    def features(self, images: NDArray[np.uint8]) -> Tensor:
        """Compute features ``[N, D]`` for the head, float32 on the CPU, from uint8 images ``[N, H, W, 3]``.

        Raises:
            InputError: if a feature is NaN or infinite.
        """
        return _finite(self._batches(self.inference.features, images))

    def backbone_features(self, images: NDArray[np.uint8]) -> Tensor:
        """Like `features`, before the features are standardized."""
        return _finite(self._batches(self.inference.backbone_features, images))

    def features_and_losses(self, images: NDArray[np.uint8]) -> Tensor:
        """Like `backbone_features`, with predicted losses in a last column, ``[N, D + 1]``, if the model has them."""
        compute = partial(features_and_losses, self.classifier)
        return _finite(self._batches(lambda batch: torch.column_stack(compute(batch)), images))

    def classify(self, images: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """The features of the backbone ``[N, D]`` and the probabilities ``[N, K]`` of images ``[N, H, W, 3]``.

        Raises:
            InputError: if a logit is NaN or infinite.
        """
        features = self._batches(self.inference.backbone_features, images)
        with torch.no_grad():
            logits = with_backbone(self.classifier, nn.Identity()).logits(features)
        return features, self.probabilities(_finite(logits, "logits"))

    def _batches(self, function: Callable[[Tensor], Tensor], images: NDArray[np.uint8]) -> Tensor:
        found = []
        with torch.no_grad():
            for start in range(0, len(images), BATCH):
                found.append(function(to_batch(images[start : start + BATCH])).float())
        return torch.cat(found)

    def predict(self, images: Picture | Iterable[Picture]) -> list[Prediction]:
        """Predict the classes of files, Pillow images or uint8 arrays ``[H, W, 3]``, of any size.

        Raises:
            InputError: if a file is missing or is not an image.
        """
        if isinstance(images, str | Path | Image.Image) or (isinstance(images, np.ndarray) and images.ndim == 3):
            images = [images]
        pictures = list(images)
        predictions = []
        for start in range(0, len(pictures), BATCH):
            chunk = pictures[start : start + BATCH]
            logits = self.logits(np.stack([self.pixels(picture) for picture in chunk]))
            probabilities = self.probabilities(logits)
            predictions += [self.prediction(p, row.tolist()) for p, row in zip(chunk, probabilities, strict=True)]
        return predictions

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits ``[N, K]`` -> probabilities ``[N, K]``, with the temperature of the model."""
        return (logits / self.confidence.temperature).softmax(dim=1)

    def pixels(self, picture: Picture) -> NDArray[np.uint8]:
        """One picture as the model takes it, ``[H, W, 3]``.

        Raises:
            InputError: a file that is missing or is not an image.
        """
        return squash(upright(picture, side=max(self.size)), self.size)

    def prediction(self, picture: Picture, probabilities: Sequence[float]) -> Prediction:
        """The prediction for a picture with these probabilities ``[K]``."""
        best = int(np.argmax(probabilities))
        return Prediction(
            path=str(picture) if isinstance(picture, str | Path) else None,
            label=self.class_names[best],
            probability=probabilities[best],
            probabilities=dict(zip(self.class_names, probabilities, strict=True)),
        )


def upright(picture: Picture, side: int | None = None) -> Image.Image:
    """A picture of any kind as upright RGB, in its own size; a file can be reduced, see `afield.data.decode.decode`.

    Raises:
        InputError: a file that is missing or is not an image.
    """
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    try:
        if isinstance(picture, Image.Image):
            return upright_rgb(picture)
        return decode(Path(picture).read_bytes(), side=side)
    except OSError as error:
        raise InputError(f"cannot read {picture}: {error.strerror}") from None
    except BadImageError as error:
        raise InputError(f"bad image {picture}: {error}") from None


def save(folder: Path, model: Model, backbone: BackboneConfig, recipe: Recipe) -> None:
    """Save a model, to be read by `load`. Pickle is not used."""
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


def _finite(values: Tensor, what: str = "features") -> Tensor:
    if not values.isfinite().all():
        raise InputError(f"the weights of this model are damaged: the {what} are NaN or infinite")
    return values


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
