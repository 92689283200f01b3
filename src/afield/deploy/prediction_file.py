"""Files of predictions, which are written while images are predicted, and continued after an interruption."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afield.deploy.model import Model
from afield.deploy.predict import OnBadImage, read_batches
from afield.deploy.prediction_columns import Columns, Row
from afield.deploy.prediction_formats import Csv, Format, JsonLines, read_parquet, write_parquet
from afield.errors import InputError
from afield.names import shown
from afield.records import locked, writing

CHUNK = 1 << 16
"""Number of bytes that are read at once to find the end of the last complete line."""

SAME = 1e-4
"""Largest difference between two probabilities that the same model computes for an image in different batches."""


@dataclass(frozen=True)
class Written:
    """A file of predictions.

    Attributes:
        path: path of the file.
        rows: number of its rows.
        kept: number of rows that were already in the file.
        review: number of rows with the flag ``review``.
        threshold: probability below which an image has this flag; None if there is no threshold.
        measured: accuracy at or above the threshold where it was measured, a sentence; empty if it was not measured.
    """

    path: Path
    rows: int
    kept: int
    review: int
    threshold: float | None
    measured: str


def write_predictions(
    model: Model,
    files: Sequence[Path],
    path: Path,
    columns: Columns,
    on_bad_image: OnBadImage,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Written:
    """Predict image files and write a row for each, in batches, so that memory does not depend on their number.

    Rows that are already in the file are kept, and an incomplete last line is removed. A Parquet file is written at the
    end, from a file of JSON lines beside it.

    Args:
        model: trained model.
        files: image files.
        path: file to write: .csv, .jsonl or .parquet.
        columns: columns of the file.
        on_bad_image: ``"error"`` stops at files that are not images, ``"skip"`` skips them.
        progress: called with the number of finished images and the number of all images.

    Raises:
        InputError: if the file has other columns or was written by another model, another process writes it, or an
            image is bad with ``"error"``.
    """
    busy = InputError(f"{path} is being written by another afield process; wait for it or choose another --out")
    with locked(path.with_name(f".{path.name}.lock"), busy), writing(path):
        lines = path.with_name(f"{path.name}.partial.jsonl") if path.suffix == ".parquet" else path
        style: Format = Csv() if path.suffix == ".csv" else JsonLines()
        if lines != path and path.exists() and not lines.exists():
            with open(lines, "w", encoding="utf-8", newline="") as out:
                out.writelines(map(style.line, read_parquet(path)))
        kept = _Kept.read(lines, style, columns, path)
        kept.check(model, files, columns, path)
        left = [file for file in files if shown(str(file)) not in kept.paths]
        before, rows, review = len(files) - len(left), len(kept.paths), kept.review
        with open(lines, "a", encoding="utf-8", newline="") as out:
            if not out.tell():
                out.write(style.start(columns))
            told = read_batches(model, left, on_bad_image, lambda done, _: progress(before + done, len(files)))
            for batch, pixels in told:
                for row in _rows(model, batch, pixels, columns):
                    out.write(style.line(row))
                    rows, review = rows + 1, review + bool(row["review"])
                out.flush()
        if lines != path:
            write_parquet(path, lines, columns)
            lines.unlink()
    threshold = columns.threshold
    measured = "" if threshold is None else model.confidence.describe(threshold)
    return Written(path, rows, len(kept.paths), review, threshold, measured)


def _rows(model: Model, files: Sequence[Path], pixels: NDArray[np.uint8], columns: Columns) -> Iterator[Row]:
    features, probabilities = model.classify(pixels)
    for file, one, row in zip(files, features, probabilities.tolist(), strict=True):
        yield columns.row(model.prediction(file, row), one)


@dataclass(frozen=True)
class _Kept:
    """The rows that a file already has: their paths, the number of flags ``review``, and the first row."""

    paths: set[str]
    review: int
    first: Row | None

    @classmethod
    def read(cls, file: Path, style: Format, columns: Columns, path: Path) -> _Kept:
        """Read the rows, after an incomplete last line is removed. `path` is the name of the file in messages."""
        if not file.exists():
            return cls(set(), 0, None)
        _cut(file)
        paths, review, first = set[str](), 0, None
        other = InputError(f"{path} has other columns or another threshold; choose another --out or remove the file")
        try:
            with open(file, encoding="utf-8", newline="") as lines:
                for row in style.rows(lines, columns):
                    if row["review"] != columns.review(row["probability"]):
                        raise other
                    paths.add(row["path"])
                    review, first = review + bool(row["review"]), first or row
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise error if error is other else other from None
        return cls(paths, review, first)

    def check(self, model: Model, files: Sequence[Path], columns: Columns, path: Path) -> None:
        """Predict the image of the first row again: another result is the result of another model."""
        file = next((each for each in files if self.first and shown(str(each)) == self.first["path"]), None)
        if self.first is None or file is None:
            return
        (row,) = _rows(model, [file], np.stack([model.pixels(file)]), columns)
        if row["class"] != self.first["class"] or abs(row["probability"] - self.first["probability"]) > SAME:
            raise InputError(f"{path} contains predictions of another model; choose another --out or remove the file")


def _cut(file: Path) -> None:
    """Remove an incomplete last line."""
    with open(file, "r+b") as content:
        end = content.seek(0, os.SEEK_END)
        while end:
            start = max(end - CHUNK, 0)
            content.seek(start)
            if (found := content.read(end - start).rfind(b"\n")) >= 0:
                content.truncate(start + found + 1)
                return
            end = start
        content.truncate(0)
