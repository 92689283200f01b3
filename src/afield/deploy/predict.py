"""Prediction of the classes of image files and of all images in folders."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from afield.data.decode import SUFFIXES
from afield.data.layout import image_files
from afield.deploy.model import BATCH, Model, Prediction
from afield.errors import InputError
from afield.names import shown
from afield.prefetch import prefetch

THREADS = 2
"""Number of threads that decode images while the model computes."""

OnBadImage = Literal["error", "skip"]


def predict_files(model: Model, paths: Sequence[Path], on_bad_image: OnBadImage) -> list[Prediction]:
    """Predict the classes of image files and of all images in folders, in the order of their paths.

    Raises:
        InputError: if a path does not exist, a folder contains no images, or, with ``"error"``, an image is bad.
    """
    return [
        model.prediction(file, row)
        for files, pixels in read_batches(model, image_paths(*paths), on_bad_image)
        for file, row in zip(files, model.probabilities(model.logits(pixels)).tolist(), strict=True)
    ]


def read_batches(
    model: Model,
    files: Sequence[Path],
    on_bad_image: OnBadImage,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[list[Path], NDArray[np.uint8]]]:
    """Decode files in the background, and yield batches of files with their pixels ``[N, H, W, 3]``, in order.

    Args:
        model: model that takes the images.
        files: image files.
        on_bad_image: ``"error"`` raises an error for files that are not images, ``"skip"`` skips them with a message.
        progress: called with the number of finished files and of all files, when a batch has been used.

    Raises:
        InputError: if an image is bad, with ``"error"``.
    """

    def read(file: Path) -> NDArray[np.uint8] | InputError:
        try:
            return model.pixels(file)
        except InputError as error:
            return error

    found = prefetch(read, files, depth=BATCH, threads=THREADS)
    for start in range(0, len(files), BATCH):
        good, pixels = list[Path](), list[NDArray[np.uint8]]()
        for file in files[start : start + BATCH]:
            read_file = next(found)
            if not isinstance(read_file, InputError):
                good.append(file)
                pixels.append(read_file)
            elif on_bad_image == "error":
                raise read_file
            else:
                print(f"skipped: {shown(str(read_file))}", file=sys.stderr)
        if good:
            yield good, np.stack(pixels)
        progress(min(start + BATCH, len(files)), len(files))


def image_paths(*paths: Path) -> list[Path]:
    """Files themselves, and all images in folders in the order of their paths.

    Raises:
        InputError: a path that does not exist, or a folder without images.
    """
    return [file for path in paths for file in _images(path)]


def _images(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError(f"no such file or folder: {path}")
    if path.is_file():
        return [path]
    files = sorted(image_files(path))
    if not files:
        raise InputError(f"folder {path} contains no images ({', '.join(sorted(SUFFIXES))})")
    return files
