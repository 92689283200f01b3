"""What a run writes, how it is named, and where its random numbers come from. Free of torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from afield.errors import InputError

SCHEMA = 1
"""Version of the record format. A change to it changes every run hash."""


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_hash(config: dict[str, Any]) -> str:
    """The name of a run: 16 hexadecimal digits of the SHA-256 of its configuration."""
    return hashlib.sha256(canonical_json([SCHEMA, config]).encode()).hexdigest()[:16]


def seed_for(*names: str | int) -> int:
    """A 63-bit seed drawn from names, so that every random choice has a generator of its own.

    >>> seed_for("order", 0, 1) == seed_for("order", 0, 1) != seed_for("order", 0, 2)
    True
    """
    return int.from_bytes(hashlib.sha256(canonical_json(list(names)).encode()).digest()[:8]) >> 1


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
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"no file {path}") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None


def write_jsonl(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one record a line, atomically."""
    write_atomic(path, "".join(canonical_json(record) + "\n" for record in records))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the records that `write_jsonl` wrote; a file that is missing or damaged raises `InputError`."""
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line]
    except FileNotFoundError:
        raise InputError(f"no file {path}") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON lines: {error}") from None


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
