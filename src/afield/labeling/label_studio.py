"""Label Studio: tasks to import there, and the labels of an export from there."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from afield.errors import InputError
from afield.labeling.label_file import Row, check_rows
from afield.records import read_json, write_json

LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio addresses files below the folder of its setting LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT."""


def write_tasks(file: Path, rows: Iterable[Row]) -> None:
    """Write rows as Label Studio tasks for image classification; labels become annotations.

    The local storage of Label Studio must have the folder of the new place as its root.
    """
    write_json(file, [_task(row) for row in rows])


def read_annotations(file: Path, class_names: Sequence[str]) -> list[Row]:
    """The rows of a JSON export of Label Studio; of several annotations the last that was not canceled counts.

    Raises:
        InputError: no such file, no export of image classification, or a class that the model does not know.
    """
    tasks = read_json(file)
    try:
        rows = [Row(_path(task["data"]), _label(task), task["data"].get("purpose", "chosen")) for task in tasks]
    except (KeyError, IndexError, TypeError, AttributeError):
        raise InputError(f"{file} is no JSON export of Label Studio with one choice for each image") from None
    check_rows(rows, class_names, str(file))
    return rows


def _task(row: Row) -> dict[str, Any]:
    data = {"image": LOCAL_FILES + quote(row.path), "path": row.path, "purpose": row.purpose}
    choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [row.label]}}
    return {"data": data, **({"annotations": [{"result": [choice]}]} if row.label else {})}


def _path(data: dict[str, Any]) -> str:
    """The path of an image, whether or not the task was written here."""
    if "path" in data:
        return data["path"]
    address = urlsplit(data["image"])
    return parse_qs(address.query)["d"][0] if "d=" in address.query else address.path.lstrip("/")


def _label(task: dict[str, Any]) -> str:
    done = [each for each in task.get("annotations", []) if not each.get("was_cancelled") and each["result"]]
    return done[-1]["result"][0]["value"]["choices"][0] if done else ""
