"""Formats of files of predictions: CSV, JSON lines and Parquet."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from afield.deploy.prediction_columns import Columns, Row
from afield.errors import InputError, first_line

SUFFIXES = (".csv", ".jsonl", ".parquet")
ROWS = 1024
"""Number of rows in a block of a Parquet file."""


class Format(Protocol):
    """One line of text for each row."""

    def start(self, columns: Columns) -> str:
        """The text before the first row."""

    def line(self, row: Row) -> str:
        """The line of a row, with its end."""

    def rows(self, lines: Iterable[str], columns: Columns) -> Iterator[Row]:
        """Read rows. Raises `ValueError` or `KeyError` if a line is not a row with these columns."""


class Csv:
    """Comma-separated values after a header, in UTF-8."""

    def start(self, columns: Columns) -> str:
        """The header."""
        return _csv_line(columns.names)

    def line(self, row: Row) -> str:
        """The cells of a row. A list is written as JSON, a missing value as an empty cell."""
        texts = {True: "true", False: "false", None: ""}
        return _csv_line(
            json.dumps(value) if isinstance(value, list) else value if isinstance(value, str | float) else texts[value]
            for value in row.values()
        )

    def rows(self, lines: Iterable[str], columns: Columns) -> Iterator[Row]:
        """Read rows."""
        for row in csv.DictReader(lines, strict=True):
            if tuple(row) != columns.names or None in row.values():
                raise ValueError("other columns")
            review = {"true": True, "false": False, "": None}[row["review"]]
            yield {**row, "probability": float(row["probability"]), "review": review}


class JsonLines:
    """A JSON object on each line, in UTF-8."""

    def start(self, columns: Columns) -> str:
        """Nothing: each object names its columns."""
        return ""

    def line(self, row: Row) -> str:
        """The object of a row."""
        return json.dumps(row, ensure_ascii=False) + "\n"

    def rows(self, lines: Iterable[str], columns: Columns) -> Iterator[Row]:
        """Read rows."""
        for line in lines:
            row = json.loads(line)
            if tuple(row) != columns.names:
                raise ValueError("other columns")
            yield row


def check_file(path: Path) -> None:
    """Raise `InputError` if the suffix of a file of predictions is unknown, or a package for it is not installed."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--out {path}: the name must end with {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError("a .parquet file needs the package pyarrow: pip install 'afield[parquet]'")


def write_parquet(path: Path, lines: Path, columns: Columns) -> None:
    """Convert JSON lines to a Parquet file, in blocks of `ROWS` rows."""
    import pyarrow as pa
    from pyarrow import parquet

    special = {"review": pa.bool_(), "embedding": pa.list_(pa.float32())}
    texts = ("path", *(name for name in columns.names if name.startswith("class")))
    kinds = special | dict.fromkeys(texts, pa.string())
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in columns.names])
    partial = path.with_name(f"{path.name}.partial")
    with parquet.ParquetWriter(partial, schema) as out, open(lines, encoding="utf-8") as file:
        rows = map(json.loads, file)
        while block := list(islice(rows, ROWS)):
            out.write_table(pa.Table.from_pylist(block, schema))
    os.replace(partial, path)


def read_parquet(path: Path) -> Iterator[Row]:
    """Read the rows of a Parquet file in blocks. Raises `InputError` if it is damaged."""
    from pyarrow import ArrowException, parquet

    try:
        for block in parquet.ParquetFile(path).iter_batches(ROWS):
            yield from block.to_pylist()
    except ArrowException as error:
        raise InputError(f"cannot read {path}: {first_line(error)}") from None


def _csv_line(cells: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
