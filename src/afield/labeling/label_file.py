"""The label file: a CSV file with the columns path, label and purpose."""

import contextlib
import csv
import io
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args
from unicodedata import normalize

from afield.errors import InputError, unknown_name
from afield.records import locked, write_atomic

Purpose = Literal["audit", "chosen"]

COLUMNS = ("path", "label", "purpose")
NONE_OF_THESE = "none of these"
"""The label of an image that shows none of the classes. The image is used neither for training nor for the audit."""


@dataclass(frozen=True)
class Row:
    """A row of a label file: an image with or without a label.

    Attributes:
        path: path relative to the folder of the new place, with forward slashes.
        label: name of a class, `NONE_OF_THESE`, or empty if the image is not labeled.
        purpose: ``audit`` for the random sample that measures the model, ``chosen`` for images that improve the model.
    """

    path: str
    label: str
    purpose: Purpose


def read_labels(file: Path, class_names: Sequence[str]) -> list[Row]:
    """Read the rows of a label file. If the file has the columns path and label only, all images are chosen images.

    Raises:
        InputError: if the file does not exist, a column is missing, a class or purpose is unknown, or an image occurs
            twice.
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            found, names = list(reader), reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the label file {file}: {error}") from None
    for column in COLUMNS[: 2 if len(names) == 2 else 3]:
        if column not in names:
            raise InputError(f"{file} needs the columns {', '.join(COLUMNS)}; there is no column {column!r}")
    rows = [
        Row(each["path"], normalize("NFC", each["label"] or ""), each.get("purpose") or "chosen")  # type: ignore[arg-type]
        for each in found
    ]
    check_rows(rows, class_names, str(file))
    return rows


def check_rows(rows: Iterable[Row], class_names: Sequence[str], where: str) -> None:
    """Raise `InputError` if a row has an unknown class or purpose, or two rows have the same path."""
    paths = set()
    for row in rows:
        if row.label and row.label not in (*class_names, NONE_OF_THESE):
            unknown_name(f"class of {row.path} in {where}:", row.label, (*class_names, NONE_OF_THESE))
        if row.purpose not in get_args(Purpose):
            unknown_name(f"purpose of {row.path} in {where}:", row.purpose, get_args(Purpose))
        if row.path in paths:
            raise InputError(f"{where} contains {row.path} twice")
        paths.add(row.path)


def check_paths(rows: Iterable[Row], paths: Container[str], folder: Path) -> None:
    """Raise `InputError` if the path of a row is not among `paths`, the images of the folder."""
    for row in rows:
        if row.path not in paths:
            raise InputError(f"the label file contains {row.path}, which is not an image in {folder}")


def with_class(rows: Iterable[Row], purpose: Purpose) -> list[Row]:
    """Return the rows with this purpose and the label of a class."""
    return [row for row in rows if row.purpose == purpose and row.label not in ("", NONE_OF_THESE)]


def write_labels(file: Path, rows: Iterable[Row]) -> None:
    """Write a label file atomically."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((row.path, row.label, row.purpose) for row in rows)
    write_atomic(file, text.getvalue())


def merged(rows: Sequence[Row], labeled: Iterable[Row]) -> list[Row]:
    """Add labels from another source to rows. Each row keeps its purpose; new images are appended."""
    found = {row.path: row for row in rows}
    for row in labeled:
        if row.path not in found:
            found[row.path] = row
        elif row.label:
            found[row.path] = replace(found[row.path], label=row.label)
    return [*found.values()]


@contextlib.contextmanager
def held(file: Path) -> Iterator[None]:
    """Lock a label file for this process while the block runs.

    Raises:
        InputError: if another process has the lock, or the folder is not writable.
    """
    busy = InputError(f"{file} is in use by another afield process; end it, or choose another --csv")
    with locked(file.with_name(f".{file.name}.lock"), busy):
        yield
