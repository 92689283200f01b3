"""The unlabeled images of a new place, with the features of a model's backbone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from afield.adaptation.features import backbone_features
from afield.deploy.model import Model
from afield.deploy.predict import OnBadImage, image_paths, read_batches
from afield.errors import InputError
from afield.records import seed_for

MOST_IMAGES = 4096
"""Largest number of images for the adaptation of a whole network. They are kept in memory."""


@dataclass(frozen=True)
class Place:
    """A folder of unlabeled images.

    Attributes:
        folder: folder of the images.
        files: paths of the images, sorted.
        features: features of the backbone, ``[N, D]``.
    """

    folder: Path
    files: Sequence[Path]
    features: Tensor

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name

    def images(self, model: Model) -> Tensor:
        """Load images for a model, uint8 ``[N, 3, H, W]``. At most `MOST_IMAGES` random images are loaded."""
        order = np.random.default_rng(seed_for("images of a new place")).permutation(len(self.files))[:MOST_IMAGES]
        pixels = np.stack([model.pixels(self.files[row]) for row in np.sort(order)])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def read_place(
    model: Model,
    folder: Path,
    on_bad_image: OnBadImage,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Place:
    """Read all images of a folder in batches.

    Raises:
        InputError: if the folder does not exist or contains no images, or, with ``"error"``, an image is bad.
    """
    files, features = list[Path](), list[Tensor]()
    for batch, pixels in read_batches(model, image_paths(folder), on_bad_image, progress):
        features.append(backbone_features(model.classifier, torch.from_numpy(pixels).permute(0, 3, 1, 2)))
        files += batch
    if not files:
        raise InputError(f"{folder} contains no readable images")
    return Place(folder, files, torch.cat(features))
