"""Atomic writing of files, JSON, and locks on folders."""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from afield.errors import InputError


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and without spaces, so that equal values give equal text. NaN raises `ValueError`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def is_json(value: object, levels: int = 100) -> bool:
    """Whether JSON can hold a value: string keys, finite numbers, 64-bit integers, nested at most `levels` deep."""
    layer = [value]
    while layer:
        inner: list[object] = []
        for each in layer:
            if isinstance(each, float):
                if not math.isfinite(each):
                    return False
            elif isinstance(each, str) or each is None:
                continue
            elif isinstance(each, int):
                if not -(2**63) <= each < 2**64:
                    return False
            elif isinstance(each, (dict, Mapping)):  # the first of the two is the faster check
                if not levels or not all(isinstance(key, str) for key in each):
                    return False
                inner += each.values()
            elif isinstance(each, (list, tuple)) and levels:
                inner += each
            else:
                return False
        layer, levels = inner, levels - 1
    return True


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Context manager: an `OSError` inside names this file if it names none, as for a full disk."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file atomically: readers and resumed runs see either the complete file or no file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with writing(path), open(partial, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically. The order of the keys is kept."""
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises `InputError` if it is missing or damaged."""
    return _parsed(_text(path), f"{path} is not valid JSON")


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one record per line, atomically."""
    write_atomic(path, "".join(canonical_json(record) + "\n" for record in records))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read records that `write_jsonl` wrote. Raises `InputError` if the file is missing or damaged."""
    return [_parsed(line, f"{path} is not valid JSON lines") for line in _text(path).splitlines() if line]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise InputError(f"no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from None


def _parsed(text: str, what: str) -> Any:
    try:
        value = json.loads(text)
    except RecursionError:
        raise InputError(f"{what}: it is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{what}: {error}") from None
    if not is_json(value):
        raise InputError(f"{what}: it is nested too deeply, or has a number that is not finite or too large")
    return value


class HeldError(InputError):
    """Another process has locked the folder."""


@contextlib.contextmanager
def exclusive(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder for this process. The operating system releases the lock when the process ends, even if killed.

    Args:
        folder: folder to lock. It is created if it does not exist.
        wait: whether to wait until another process releases its lock, instead of raising an error.

    Raises:
        HeldError: if another process has locked the folder.
        InputError: if the folder is not writable.
    """
    busy = HeldError(f"{folder} is in use by another afield process; wait for it or choose another --out")
    with locked(folder / ".lock", busy, wait=wait):
        yield


@contextlib.contextmanager
def locked(file: Path, busy: InputError, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a lock file while the block runs; see `exclusive`.

    Args:
        file: lock file. Its folder is created if it does not exist.
        busy: error to raise if another process has the lock and `wait` is False.
        wait: whether to wait until another process releases its lock.

    Raises:
        InputError: if another process has the lock, or the folder is not writable.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(file, timeout=-1 if wait else 0)
        lock.acquire()
    except Timeout:
        raise busy from None
    except OSError as error:
        raise InputError(f"cannot write to {file.parent}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
