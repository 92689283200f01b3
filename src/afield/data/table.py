"""Tables of images: CSV, TSV, JSON Lines, Parquet, and annotations in the format of COCO."""

import csv
import io
import json
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afield.data.cache import Reading, load_listing
from afield.data.classes import class_indices
from afield.data.images import SPLIT_WORDS, SPLITS, ImageSet
from afield.data.layout import Listing
from afield.errors import InputError, first_line, unknown_name
from afield.names import checked_name, shown

COLUMNS = ("path", "label", "domain", "group", "split", "weight")
"""What a table can say about an image. The first two are needed."""

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".json")

Row = Mapping[str, Any]


def read_table(file: Path) -> list[Row]:
    """The rows of a table, each with its values by column.

    A ``.json`` file has the format of COCO: its rows are its images, with the column ``path`` from ``file_name`` and
    the column ``label`` from the category. An image with annotations of several categories has several rows.

    Raises:
        InputError: if the file cannot be read or has no rows.
    """
    try:
        rows = _rows(file)
    except ModuleNotFoundError:
        raise InputError(f"--data {file} needs the library pyarrow: pip install 'afield[parquet]'") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise InputError(f"cannot read {file} as a table of images: {first_line(error)}") from None
    if not rows:
        raise InputError(f"{file} has no rows")
    return rows


def named_columns(options: Iterable[str]) -> dict[str, str]:
    """``NAME=COLUMN`` texts as a mapping; an empty column means that the table's column of this name is not used.

    Raises:
        InputError: if a text has another form or a name is not in `COLUMNS`.
    """
    names = {}
    for option in options:
        name, equals, column = option.partition("=")
        if not equals:
            raise InputError(f"--columns {option}: expected NAME=COLUMN, such as label=species")
        if name not in COLUMNS:
            unknown_name("column in --columns:", name, COLUMNS)
        names[name] = column
    return names


def load_table(file: Path, rows: Sequence[Row], root: Path, columns: Mapping[str, str], reading: Reading) -> ImageSet:
    """Load the images of a table, in the order of their paths.

    Args:
        file: the table.
        rows: its rows.
        root: folder of the paths.
        columns: column of each of `COLUMNS` that has another name. A column with braces is a template, such as
            ``{site}/{file}.jpg``.
        reading: image size, progress, and whether to skip bad and missing images, and images whose rows differ.

    Raises:
        InputError: if a column or an image is missing, an image has several rows, or a value is not allowed.
    """
    values = {name: _values(file, rows, name, columns.get(name)) for name in COLUMNS}
    located = [_located(root, path) for path in _complete(file, values["path"], "path")]
    skip = reading.on_bad_image == "skip"
    if not skip and (missing := [path for path in located if not (root / path).is_file()]):
        raise InputError(
            f"{file}: {len(missing):,} of {len(located):,} images do not exist in {root}, {_such_as(missing)}; give "
            "their folder with --root, or use --on-bad-image skip"
        )
    chosen, notes = _single_rows(file, located, values, skip)
    values = {name: [found[i] for i in chosen] for name, found in values.items() if found}
    texts = _complete(file, values["label"], "label")
    labels = [int(text) for text in texts] if all(map(_is_number, texts)) else texts
    indices, class_names = class_indices(str(file), labels, min_classes=reading.min_classes)
    domains, domain_names = _domains(file, values.get("domain", [""] * len(chosen)))
    listing = Listing(
        name=str(file),
        paths=tuple(located[i] for i in chosen),
        labels=indices,
        domains=domains,
        given=[_given(file, text) for text in values.get("split", [""] * len(chosen))],
        class_names=class_names,
        domain_names=domain_names,
        notes=notes,
        root=root,
        groups=_groups(values["group"]) if "group" in values else None,
        weights=_weights(file, values["weight"]) if "weight" in values else None,
    )
    return load_listing(listing, reading)


def _rows(file: Path) -> list[Row]:
    if file.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(file).to_pylist()
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix == ".jsonl":
        return [dict(json.loads(line)) for line in text.split("\n") if line.strip()]
    if file.suffix == ".json":
        return _annotated(json.loads(text))
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    return [*csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)]


def _annotated(content: Mapping[str, Any]) -> list[Row]:
    categories = {category["id"]: category["name"] for category in content["categories"]}
    found: dict[Any, set[str]] = {}
    for annotation in content["annotations"]:
        found.setdefault(annotation["image_id"], set()).add(categories[annotation["category_id"]])
    images = content["images"]
    return [
        {**image, "path": image["file_name"], "label": label}
        for image in images
        for label in sorted(found.get(image["id"], ()))
    ]


def _values(file: Path, rows: Sequence[Row], name: str, column: str | None) -> list[str]:
    """The values of a column as text, empty where there is none; an empty list if the table lacks the column."""
    known = rows[0]
    if name in COLUMNS[2:] and (column == "" or (column is None and name not in known)):
        return []
    column = column or name
    if "{" in column:
        try:
            return [column.format_map(row) for row in rows]
        except (KeyError, ValueError, IndexError) as error:
            raise InputError(
                f"{file}: the template {column} does not fit its columns {', '.join(known)}: {error}"
            ) from None
    if column not in known and column != name:
        unknown_name(f"column of {file}:", column, map(str, known))
    if column not in known:
        names = ", ".join(map(shown, map(str, known)))
        raise InputError(f"{file} has no column {name!r} but {names}; name it with --columns {name}=COLUMN")
    return [_text(row.get(column)) for row in rows]


def _text(value: Any) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value).strip()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _complete(file: Path, values: Sequence[str], name: str) -> Sequence[str]:
    if "" in values:
        raise InputError(f"{file}: row {values.index('') + 1} has no {name}")
    return values


def _located(root: Path, path: str) -> str:
    """The path in the form in which the file exists: tools differ in the composition of umlauts and in slashes."""
    forms = (path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD")), path.replace("\\", "/"))
    return next((form for form in forms if (root / form).is_file()), path)


def _single_rows(
    file: Path, paths: Sequence[str], values: Mapping[str, Sequence[str]], skip: bool
) -> tuple[list[int], tuple[str, ...]]:
    """The index of the row of each image, in the order of the paths, and notes on images that are ignored."""
    order = sorted(range(len(paths)), key=lambda i: paths[i])
    rows = {path: [*found] for path, found in groupby(order, key=lambda i: paths[i])}
    doubled = {path: found for path, found in rows.items() if len(found) > 1}
    if doubled and not skip:
        path, (first, second, *_) = next(iter(doubled.items()))
        raise InputError(
            f"{file}: {len(doubled):,} image{'s have' if len(doubled) > 1 else ' has'} more than one row, such as "
            f"{shown(path)} (rows {first + 1} and {second + 1}); --on-bad-image skip keeps one of equal rows"
        )
    differ = [
        path for path, found in doubled.items() if len({tuple(v[i] for v in values.values() if v) for i in found}) > 1
    ]
    ambiguous = set(differ)
    chosen = [found[0] for path, found in rows.items() if path not in ambiguous]
    notes = (f"ignored {len(differ):,} images with different rows, {_such_as(differ)}",) if differ else ()
    return chosen, notes


def _such_as(paths: Sequence[str]) -> str:
    return f"such as {', '.join(map(shown, paths[:3]))}"


def _domains(file: Path, values: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if not any(values):
        return np.zeros(len(values), dtype=np.int64), (shown(file.stem),)
    texts = [checked_name(text, "domain") for text in _complete(file, values, "domain")]
    names, indices = np.unique(texts, return_inverse=True)
    return indices.astype(np.int64), tuple(names.tolist())


def _given(file: Path, text: str) -> int:
    if text and text.lower() not in SPLIT_WORDS:
        unknown_name(f"split in {file} (`--columns split=` ignores the column):", text, SPLIT_WORDS)
    return SPLITS.index(SPLIT_WORDS[text.lower()]) if text else -1


def _groups(values: Sequence[str]) -> NDArray[np.int64]:
    names = [text or f"\0{i}" for i, text in enumerate(values)]  # an image without a group is a group of its own
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _weights(file: Path, values: Sequence[str]) -> NDArray[np.float64]:
    weights = np.ones(len(values))
    for i, text in enumerate(values):
        try:
            weights[i] = float(text or 1)
        except ValueError:
            weights[i] = -1
        if not 0 <= weights[i] < math.inf:
            raise InputError(f"{file}: a weight must be a number of at least 0, got {shown(text)!r}")
    return weights
