"""Trained models and their predictions."""

import math
from collections.abc import Callable, Iterable, Sequence
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
from afield.classifier import Classifier
from afield.data.decode import BadImageError, decode, squash, upright_rgb
from afield.deploy.confidence import Confidence
from afield.errors import InputError
from afield.models import Precision, fast_inference
from afield.pixels import to_batch

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


def _finite(values: Tensor, what: str = "features") -> Tensor:
    if not values.isfinite().all():
        raise InputError(f"the weights of this model are damaged: the {what} are NaN or infinite")
    return values
