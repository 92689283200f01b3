"""Images are decoded once into a memory-mapped uint8 array; its key is a hash of what the files contain."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from platformdirs import user_cache_path

from afield.data import store
from afield.data.decode import BadImageError, decode, squash
from afield.data.images import SPLITS, ImageSet
from afield.data.layout import Listing
from afield.errors import InputError
from afield.names import shown
from afield.records import canonical_json, exclusive, read_json, write_json, writing

OnBadImage = Literal["error", "skip"]
OnProgress = Callable[[int, int], None]
"""Called with the number of images that are done and the number of all images (0 if that is unknown)."""


@dataclass(frozen=True)
class Reading:
    """How a source is read.

    Attributes:
        image_size: side in pixels; images are squashed to squares.
        on_bad_image: ``"error"`` stops at bad images and names them, ``"skip"`` skips and lists them.
        progress: see `OnProgress`.
        min_classes: 2 to train, 1 to evaluate.
    """

    image_size: int
    on_bad_image: OnBadImage = "error"
    progress: OnProgress = lambda done, total: None
    min_classes: int = 2

    def square(self, content: bytes) -> NDArray[np.uint8]:
        """Decode an image file to ``[S, S, 3]``; a bad one raises `afield.data.decode.BadImageError`."""
        return squash(decode(content), self.image_size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of each image."""
        return self.image_size, self.image_size, 3


FORMAT = 4

CLOCK_NS = 2 * 10**9
"""A file may change twice within this time and keep its time of change."""


def cache_root() -> Path:
    """``$AFIELD_CACHE``, or ``afield`` in the user's cache folder."""
    return Path(os.environ.get("AFIELD_CACHE") or user_cache_path("afield", appauthor=False))


def load_listing(listing: Listing, reading: Reading) -> ImageSet:
    """The images of a folder, from the result of `afield.data.layout.list_folder`.

    The first call reads and decodes every file. Later calls read the sizes and modification times of all files, and
    the bytes of those files whose size or time has changed. Several threads decode, since Pillow releases the GIL.

    Raises:
        InputError: bad files under ``"error"``, or no good file at all.
    """
    folder, paths = Path(listing.name), listing.paths

    def fill(target: Path) -> None:
        def square(path: str) -> NDArray[np.uint8]:
            try:
                return reading.square((folder / path).read_bytes())
            except OSError as error:  # `content_keys` has read all files but dangling links
                raise BadImageError(f"the target of the link is missing ({error.strerror})") from None

        store.fill(target, square, paths, reading.shape, progress=lambda done: reading.progress(done, len(paths)))

    return cached_set(kept([reading.image_size, content_keys(folder, paths)], fill), listing, reading)


def kept(key: Any, fill: Callable[[Path], None]) -> store.Stored:
    """The images that the cache has under a key; one process makes them where they are missing or damaged.

    Nothing is written where they are there and whole, so that a cache can be read-only.

    Args:
        key: a value that JSON can express.
        fill: decodes the images into a folder, by `afield.data.store.fill`.
    """
    root = cache_root() / "images"
    folder = root / hashlib.sha256(canonical_json([FORMAT, key]).encode()).hexdigest()[:24]
    if found := store.read(folder):
        return found
    with exclusive(root, wait=True):
        if not (found := store.read(folder)):
            if folder.exists():
                warnings.warn(f"{folder} is damaged; it is discarded and made again", stacklevel=2)
            fill(folder)
            found = store.read(folder)
    assert found is not None
    return found


def content_keys(folder: Path, paths: Sequence[str]) -> list[str]:
    """A hash of each file's bytes, computed again only if the file's size or one of its times has changed.

    Hashes of files that have just been changed are not kept: such a file can change again and keep its times.

    Raises:
        InputError: a file that cannot be read.
    """
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    stats_file = cache_root() / "images" / f"folder-{name}.json"
    known: Any = {}
    with suppress(InputError):
        known = read_json(stats_file)
    keys, fresh = [], dict[str, list[Any]]()
    for path in paths:
        if not (folder / path).exists():  # a dangling link, whose target may come back
            keys.append("missing")
            continue
        stamp = _stamp(folder / path)
        *before, key = known.get(path, [""])
        keys.append(key if before == stamp else _file_digest(folder / path))
        if time.time_ns() - max(stamp[1:]) > CLOCK_NS:
            fresh[path] = [*stamp, keys[-1]]
    if fresh != known:
        with suppress(OSError):  # a cache may be read-only
            write_json(stats_file, fresh)
    return keys


def cached_set(stored: store.Stored, listing: Listing, reading: Reading) -> ImageSet:
    """The good images of a listing, as they were decoded.

    Raises:
        InputError: bad images under ``"error"``, or no good image.
    """
    bad: dict[int, str] = dict(stored.index["bad"])
    good = [i for i in range(len(listing.paths)) if i not in bad]
    skipped = tuple(sorted((shown(listing.paths[i]), shown(reason)) for i, reason in bad.items()))
    if skipped and (reading.on_bad_image == "error" or not good):
        raise InputError(_bad_message(listing.name, skipped))
    given = np.array(listing.given, dtype=np.int8)
    if lost := set(given.tolist()) - set(given[good].tolist()):
        raise InputError(f"{listing.name}: the {SPLITS[lost.pop()]} split has no good images")
    return ImageSet(
        name=listing.name,
        images=stored.images,
        labels=np.array(listing.labels, dtype=np.int64)[good],
        domains=np.array(listing.domains, dtype=np.int64)[good],
        digests=stored.digests,
        class_names=listing.class_names,
        domain_names=listing.domain_names,
        paths=tuple(shown(listing.paths[i]) for i in good),
        given=given[good],
        skipped=skipped,
        notes=listing.notes,
    )


def allocate(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """A new memory-mapped ``.npy`` with its disk space reserved, so that a full disk is an error here, not later."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with writing(path), open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _stamp(path: Path) -> list[int]:
    """Size and times of change."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _file_digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except PermissionError:
        raise InputError(f"cannot read {path}: permission denied") from None


def _bad_message(name: str, bad: Sequence[tuple[str, str]]) -> str:
    first = "; ".join(f"{path}: {reason}" for path, reason in bad[:5])
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    count = f"{len(bad)} bad image{'s' if len(bad) > 1 else ''}"
    return f"{count} in {name} ({first}{more}); --on-bad-image skip skips them"
