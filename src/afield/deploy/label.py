"""Label images of a new place for a trained model, measure the model with the labels, and refit its head."""

import copy
import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afield.data import ImageSet
from afield.deploy.features import Progress, folder_features, image_features
from afield.deploy.model import BATCH, Model
from afield.deploy.predict import image_paths
from afield.errors import InputError, unknown_name
from afield.labeling.audit import Audit, audit
from afield.labeling.label_file import NONE_OF_THESE, Row, check_paths, read_labels, with_class
from afield.labeling.refit import Labeled
from afield.labeling.task import LabelingTask
from afield.records import seed_for

SOURCE_IMAGES = 2000
"""Largest number of training images that a head is refitted on, with equal numbers from each class."""


def labeling_task(
    model: Model,
    folder: Path,
    source: ImageSet | None = None,
    *,
    sequences: Path | None = None,
    on_bad_image: Literal["error", "skip"] = "error",
    progress: Progress = lambda done, total: None,
) -> LabelingTask:
    """Read the images of a folder and compute their features. Features are cached, and a started computation continues.

    Args:
        model: model to improve or to measure.
        folder: folder of images, in subfolders of any depth.
        source: labeled training images of the model.
        sequences: CSV file with the columns path and sequence; by default, the images of each folder form a sequence.
            No sequence of the file is in both the audit sample and the chosen images.
        on_bad_image: ``"error"`` raises an error for files that are not images, ``"skip"`` skips them.
        progress: called with the number of finished images and the number of all images.

    Raises:
        InputError: if there are no images, an image is bad with ``"error"``, or the source has other classes.
    """
    if folder.is_file():
        raise InputError(f"{folder} is a file; give the folder of the images to label")
    files, features, losses = folder_features(model, folder, on_bad_image, progress)
    paths = tuple(_utf8(file.relative_to(folder).as_posix()) for file in files)
    named = None if sequences is None else _by_column(paths, sequences)
    return LabelingTask(
        folder,
        paths,
        _normed(model, features),
        model.classifier.objective,
        model.class_names,
        None if source is None else _source(model, source, progress),
        _by_folder(paths) if named is None else named,
        losses,
        named,
    )


def measure(model: Model, folder: Path, rows: Sequence[Row]) -> dict[str, Any]:
    """Evaluate a model in a new place on the labeled rows of the audit sample.

    Raises:
        InputError: if there are no such rows, or an image is missing or bad.
    """
    chosen = sum(row.purpose == "chosen" for row in rows)
    none = sum(row.purpose == "audit" and row.label == NONE_OF_THESE for row in rows)
    if not with_class(rows, "audit"):
        raise InputError(
            f"no labeled image of the label file has the purpose audit, and its {chosen} chosen images are not a "
            "random sample; `afield label` draws an audit sample"
        )
    return {"data": str(folder), "none_of_these": none, **dataclasses.asdict(audited(model, folder, rows))}


def audited(model: Model, folder: Path, rows: Sequence[Row]) -> Audit:
    """Evaluate a model on the labeled rows of the audit sample; at least one row is needed."""
    found, index = with_class(rows, "audit"), {name: i for i, name in enumerate(model.class_names)}
    predictions = model.predict([folder / row.path for row in found])
    predicted = np.array([index[prediction.label] for prediction in predictions])
    return audit(predicted, np.array([index[row.label] for row in found]), model.class_names)


def labels_to_learn(model: Model, folder: Path, file: Path) -> list[Row]:
    """Read the rows of a label file to which the head of a model is refitted. No image is opened.

    Raises:
        InputError: if the label file is invalid, an image is not in the folder, or no chosen image has the label of a
            class.
    """
    rows = read_labels(file, model.class_names)
    check_paths(rows, {path.relative_to(folder).as_posix() for path in image_paths(folder)}, folder)
    if not with_class(rows, "chosen"):
        raise InputError(
            f"no image of {file} has the purpose chosen and the label of a class; the audit sample only measures"
        )
    return rows


def refitted(model: Model, folder: Path, rows: Sequence[Row]) -> Model:
    """Return a copy of a model with a head that is refitted to the labeled chosen images."""
    found = with_class(rows, "chosen")
    paths, features = tuple(row.path for row in found), list[Tensor]()
    for start in range(0, len(paths), BATCH):
        pixels = [model.pixels(folder / path) for path in paths[start : start + BATCH]]
        features.append(model.features(np.stack(pixels)))
    classifier = copy.deepcopy(model.classifier)
    task = LabelingTask(folder, paths, torch.cat(features), classifier.objective, model.class_names)
    classifier.objective = task.refitted(found)
    return dataclasses.replace(model, classifier=classifier)


def _utf8(path: str) -> str:
    """The path itself. Raises `InputError` if it is not UTF-8, because a label file is."""
    if not path.isprintable() and any(0xD800 <= ord(character) < 0xE000 for character in path):
        raise InputError(f"{path}: the name is not UTF-8, as label files are; rename the file")
    return path


def _normed(model: Model, features: Tensor) -> Tensor:
    """The features of the backbone -> the features for the objective."""
    norm = model.classifier.feature_norm
    return features if norm is None else norm(features)


def source_rows(model: Model, data: ImageSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose training images: equal numbers from each class, at most `SOURCE_IMAGES` in total.

    Returns:
        their indices ``[N]`` in the data set and the class indices of the model ``[N]``.

    Raises:
        InputError: if the data has a class that the model does not have, or images of another size.
    """
    for name in data.class_names:
        if name not in model.class_names:
            unknown_name("class of this model", name, model.class_names)
    if data.images.shape[1:3] != model.size:
        raise InputError(f"{data.name}: the model needs images of {' x '.join(map(str, model.size))} pixels")
    order = np.random.default_rng(seed_for("source images")).permutation(len(data))
    each = SOURCE_IMAGES // len(data.class_names)
    parts = [order[data.labels[order] == label][:each] for label in range(len(data.class_names))]
    rows = np.sort(np.concatenate(parts))
    classes = np.array([model.class_names.index(name) for name in data.class_names])
    return rows, classes[data.labels[rows]]


def _source(model: Model, data: ImageSet, progress: Progress) -> Labeled:
    """Compute features of training images, with the class indices of the model."""
    rows, labels = source_rows(model, data)
    key = [data.fingerprint, len(rows)]
    features, _ = image_features(model, key, rows.tolist(), data.images.__getitem__, progress)
    return Labeled(_normed(model, features), torch.from_numpy(labels))


def _by_folder(paths: Sequence[str]) -> Tensor:
    names = [path.rpartition("/")[0] for path in paths]
    return torch.from_numpy(np.unique(names, return_inverse=True)[1])


def _by_column(paths: Sequence[str], file: Path) -> Tensor:
    """Read the sequence of each image from a CSV file. An image that is not in the file is a separate sequence."""
    try:
        with open(file, newline="", encoding="utf-8-sig") as opened:
            named = {row["path"]: row["sequence"] for row in csv.DictReader(opened)}
    except KeyError as error:
        raise InputError(f"{file} needs the columns path and sequence; there is no column {error}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the sequences {file}: {error}") from None
    keys = [f"sequence {named[path]}" if path in named else f"image {path}" for path in paths]
    return torch.from_numpy(np.unique(keys, return_inverse=True)[1])
