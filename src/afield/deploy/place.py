"""The unlabeled images of a new place, with the features of a model's backbone."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afield.adaptation.features import backbone_features
from afield.deploy.model import BATCH, Model
from afield.deploy.predict import image_paths
from afield.errors import InputError
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
    model: Model,
    folder: Path,
    on_bad_image: Literal["error", "skip"],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Place:
    """Read all images of a folder in batches.

    Raises:
        InputError: if the folder does not exist or contains no images, or, with ``"error"``, an image is bad.
    """
    paths = image_paths(folder)
    files, features = list[Path](), list[Tensor]()
    for start in range(0, len(paths), BATCH):
        read = [(path, _read(model, path, on_bad_image)) for path in paths[start : start + BATCH]]
        found = {path: pixels for path, pixels in read if pixels is not None}
        if found:
            pixels = torch.from_numpy(np.stack([*found.values()])).permute(0, 3, 1, 2)
            features.append(backbone_features(model.classifier, pixels))
        files += found
        progress(min(start + BATCH, len(paths)), len(paths))
    if not files:
        raise InputError(f"{folder} contains no readable images")
    return Place(folder, files, torch.cat(features))


def _read(model: Model, path: Path, on_bad_image: Literal["error", "skip"]) -> NDArray[np.uint8] | None:
    try:
        return model.pixels(path)
    except InputError as error:
        if on_bad_image == "error":
            raise
        print(f"skipped: {shown(str(error))}", file=sys.stderr)
        return None
