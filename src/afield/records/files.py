"""Files that are whole or absent, JSON, and the lock on a folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from afield.errors import InputError


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a run that resumes, sees all of it or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically, keys in the order given."""
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; one that is missing or damaged raises `InputError`."""
    return _parsed(path, json.loads, "JSON")


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one record a line, atomically."""
    write_atomic(path, "".join(canonical_json(record) + "\n" for record in records))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the records that `write_jsonl` wrote; a file that is missing or damaged raises `InputError`."""
    return _parsed(path, lambda text: [json.loads(line) for line in text.splitlines() if line], "JSON lines")


def _parsed(path: Path, parse: Callable[[str], Any], what: str) -> Any:
    try:
        return parse(path.read_text())
    except FileNotFoundError:
        raise InputError(f"no file {path}") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid {what}: {error}") from None


class HeldError(InputError):
    """Another process holds the folder."""


@contextlib.contextmanager
def exclusive(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for one process. The lock is the kernel's: it ends with the process, `kill -9` included.

    Args:
        folder: made if it does not exist.
        wait: wait for another process that holds it, instead of raising.

    Raises:
        HeldError: another process holds the folder.
        InputError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=-1 if wait else 0)
        lock.acquire()
    except Timeout:
        raise HeldError(f"{folder} is in use by another afield process; wait for it or choose another --out") from None
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
