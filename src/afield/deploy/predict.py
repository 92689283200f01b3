"""Prediction of the classes of image files and of all images in folders."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from afield.data.decode import SUFFIXES
from afield.data.layout import image_files
from afield.deploy.model import BATCH, Model, Prediction
from afield.errors import InputError
from afield.names import shown


def predict_files(model: Model, paths: Sequence[Path], on_bad_image: Literal["error", "skip"]) -> list[Prediction]:
    """Predict the classes of image files and of all images in folders, in the order of their paths.

    Raises:
        InputError: if a path does not exist, a folder contains no images, or, with ``"error"``, an image is bad.
    """
    files = [file for path in paths for file in image_paths(Path(path))]
    predictions: list[Prediction] = []
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        try:
            predictions += model.predict(batch)
        except InputError:
            if on_bad_image == "error":
                raise
            predictions += _one_by_one(model, batch)
    return predictions


def _one_by_one(model: Model, files: Sequence[Path]) -> list[Prediction]:
    found = []
    for file in files:
        try:
            found += model.predict(file)
        except InputError as error:
            print(f"skipped: {shown(str(error))}", file=sys.stderr)
    return found


def image_paths(path: Path) -> list[Path]:
    """A file itself, or all images in a folder, in the order of their paths.

    Raises:
        InputError: a path that does not exist, or a folder without images.
    """
    if not path.exists():
        raise InputError(f"no such file or folder: {path}")
    if path.is_file():
        return [path]
    files = sorted(image_files(path))
    if not files:
        raise InputError(f"folder {path} contains no images ({', '.join(sorted(SUFFIXES))})")
    return files
