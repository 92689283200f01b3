"""Reading and writing of records and summaries."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from afield.errors import InputError
from afield.records.decode import decode, encode
from afield.records.files import read_json, read_jsonl, write_json, write_jsonl
from afield.records.migration import migrate
from afield.records.types import Record, Summary


def read_records(path: str | Path, *, without: Collection[str] = ()) -> list[Record]:
    """Read the records of a comparison or reproduction from its folder or from its ``records.jsonl``.

    Args:
        path: folder, or file.
        without: hashes of runs whose records are left out.

    Raises:
        InputError: if the file does not exist or a line is not a record.
    """
    file = Path(path) / "records.jsonl" if Path(path).is_dir() else Path(path)
    return [
        to_record(line, f"{file}, line {number}")
        for number, line in enumerate(read_jsonl(file), start=1)
        if not (isinstance(line, dict) and str(line.get("run")) in without)
    ]


def read_compared(folder: Path) -> list[Record]:
    """Like `read_records`, without the records of earlier comparisons in the same folder."""
    return [record for record in read_records(folder) if record.compared]


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write one record per line, atomically."""
    write_jsonl(path, map(encode, records))


def read_record(path: Path) -> Record:
    """Read the record of one run. Raises `InputError` if the file is not a record."""
    return to_record(read_json(path), str(path))


def write_record(path: Path, record: Record) -> None:
    """Write the record of one run, atomically."""
    write_json(path, encode(record))


def read_summary(path: Path) -> Summary:
    """Read the summary of a comparison. Raises `InputError` if the file is not a summary."""
    return _migrated(Summary, read_json(path), str(path))


def write_summary(path: Path, summary: Summary) -> None:
    """Write the summary of a comparison, atomically."""
    write_json(path, encode(summary))


def to_record(value: Any, where: str) -> Record:
    """Convert JSON of any version to a record. Raises an `InputError` that names `where`, its source."""
    return _migrated(Record, value, where)


def _migrated(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected an object, got {value!r}")
    try:
        value = migrate(value)
    except InputError as error:
        raise InputError(f"{where} {error}") from None
    except (AttributeError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise InputError(f"{where}: not a {kind.__name__.lower()} of schema 1 ({error!r})") from None
    return decode(kind, value, f"{where}:")
