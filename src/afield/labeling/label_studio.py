"""Label Studio: writes tasks for import there, and reads labels from an export."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize
from urllib.parse import parse_qs, quote, urlsplit

from afield.errors import InputError
from afield.labeling.label_file import Row, check_rows
from afield.records import read_json, write_json

LOCAL_FILES = "/data/local-files/?d="
"""The URL prefix of Label Studio for files in its folder LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT."""


def write_tasks(file: Path, rows: Iterable[Row]) -> None:
    """Write rows as Label Studio tasks for image classification. Labels become annotations.

    The root of Label Studio's local storage must be the folder of the new place.
    """
    write_json(file, [_task(row) for row in rows])


def read_annotations(file: Path, class_names: Sequence[str]) -> list[Row]:
    """Read rows from a JSON export of Label Studio. If an image has several annotations, the last valid one is used.

    Canceled annotations are not valid.

    Raises:
        InputError: if the file does not exist, is not an export of image classification, or contains an unknown class.
    """
    tasks = read_json(file)
    try:
        rows = [Row(_path(task["data"]), _label(task), task["data"].get("purpose", "chosen")) for task in tasks]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise InputError(f"{file} is not a JSON export of Label Studio with one choice for each image") from None
    check_rows(rows, class_names, str(file))
    return rows


def _task(row: Row) -> dict[str, Any]:
    data = {"image": LOCAL_FILES + quote(row.path), "path": row.path, "purpose": row.purpose}
    choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [row.label]}}
    return {"data": data, **({"annotations": [{"result": [choice]}]} if row.label else {})}


def _path(data: dict[str, Any]) -> str:
    """The path of an image, for tasks from `write_tasks` and for other tasks."""
    if "path" in data:
        return data["path"]
    address = urlsplit(data["image"])
    return parse_qs(address.query)["d"][0] if "d=" in address.query else address.path.lstrip("/")


def _label(task: dict[str, Any]) -> str:
    done = [each for each in task.get("annotations", []) if not each.get("was_cancelled") and each["result"]]
    return normalize("NFC", done[-1]["result"][0]["value"]["choices"][0]) if done else ""
