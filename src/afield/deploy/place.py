"""The unlabeled images of a new place, with the features of a model's backbone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from afield.deploy.features import Progress, folder_features
from afield.deploy.model import Model
from afield.deploy.predict import OnBadImage
from afield.names import shown
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
        return shown(self.folder.resolve().name)

    def images(self, model: Model) -> Tensor:
        """Load images for a model, uint8 ``[N, 3, H, W]``. At most `MOST_IMAGES` random images are loaded."""
        order = np.random.default_rng(seed_for("images of a new place")).permutation(len(self.files))[:MOST_IMAGES]
        pixels = np.stack([model.pixels(self.files[row]) for row in np.sort(order)])
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def read_place(
    model: Model, folder: Path, on_bad_image: OnBadImage, progress: Progress = lambda done, total: None
) -> Place:
    """Read all images of a folder and compute their features, or load them from the cache.

    Raises:
        InputError: if the folder does not exist or contains no images, or, with ``"error"``, an image is bad.
    """
    files, features, _ = folder_features(model, folder, on_bad_image, progress)
    return Place(folder, files, features)
