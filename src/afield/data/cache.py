"""Cache of decoded images: memory-mapped uint8 arrays, whose keys are hashes of the file contents."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from platformdirs import user_cache_path

from afield.data import store
from afield.data.decode import BadImageError, decode_square, longer_side
from afield.data.images import SPLITS, ImageSet
from afield.data.layout import Listing
from afield.data.stamp import stamp
from afield.errors import InputError
from afield.names import shown
from afield.records import canonical_json, exclusive, read_json, write_json, writing

OnBadImage = Literal["error", "skip"]
OnProgress = Callable[[int, int], None]
"""Called with the number of finished images and the total number of images (0 if unknown)."""


@dataclass(frozen=True)
class Reading:
    """Options for reading a data source.

    Attributes:
        image_size: side length in pixels; images are resized to squares without keeping the aspect ratio.
        on_bad_image: ``"error"`` raises an error that lists bad images, ``"skip"`` skips and reports them.
        progress: see `OnProgress`.
        min_classes: minimum number of classes: 2 for training, 1 for evaluation.
        tiny_size: side length that replaces `image_size` for images of at most this size; see `for_images`.
    """

    image_size: int
    on_bad_image: OnBadImage = "error"
    progress: OnProgress = lambda done, total: None
    min_classes: int = 2
    tiny_size: int = 0

    def for_images(self, images: Iterable[bytes | Path]) -> Reading:
        """These options with `tiny_size` as the image size, if the median image is not larger.

        Args:
            images: files of images or their contents. Some of them are sufficient, and bad ones are ignored.
        """
        sides = [side for side in map(longer_side, images) if side] if self.tiny_size else []
        tiny = bool(sides) and statistics.median(sides) <= self.tiny_size
        return replace(self, image_size=self.tiny_size, tiny_size=0) if tiny else self

    def square(self, content: bytes) -> NDArray[np.uint8]:
        """Decode an image file to ``[S, S, 3]``; raises `afield.data.decode.BadImageError` for a bad file."""
        return decode_square(content, self.image_size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of each image."""
        return self.image_size, self.image_size, 3


SAMPLE = 32
"""Approximate number of images whose size is looked at."""

FORMAT = 6

MISSING = "missing"
"""The key of a dangling link."""

CLOCK_NS = 2 * 10**9
"""Upper bound of the clock resolution of file systems. A file can change twice in this time with one timestamp."""


def cache_root() -> Path:
    """The cache folder: ``$AFIELD_CACHE``, or ``afield`` in the cache folder of the user."""
    return Path(os.environ.get("AFIELD_CACHE") or user_cache_path("afield", appauthor=False))


def load_listing(listing: Listing, reading: Reading) -> ImageSet:
    """Load the images of a folder or table, listed by `afield.data.layout.list_folder` or `afield.data.table`.

    The first call reads and decodes all files. Later calls check the size and modification time of each file, and read
    only files whose size or time has changed. Several threads decode, because Pillow releases the GIL.

    Raises:
        InputError: if there are bad files and `on_bad_image` is ``"error"``, or if there is no good file.
    """
    folder, paths = listing.root or Path(listing.name), listing.paths
    reading = reading.for_images(folder / path for path in paths[:: max(1, len(paths) // SAMPLE)])

    def fill(target: Path) -> None:
        def square(path: str) -> NDArray[np.uint8]:
            try:
                return reading.square((folder / path).read_bytes())
            except OSError as error:  # `content_keys` has read all files except missing files and dangling links
                what = "the target of the link" if (folder / path).is_symlink() else "the file"
                raise BadImageError(f"{what} is missing ({error.strerror})") from None

        store.fill(target, square, paths, reading.shape, progress=lambda done: reading.progress(done, len(paths)))

    return cached_set(kept([reading.image_size, content_keys(folder, paths)], fill), listing, reading)


def kept(key: Any, fill: Callable[[Path], None]) -> store.Stored:
    """The cached images of a key. If they are missing or damaged, one process creates them again.

    If they are present and intact, nothing is written, so that the cache can be read-only.

    Args:
        key: key of the data set, a JSON-serializable value.
        fill: decodes the images into a folder with `afield.data.store.fill`.
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
    """A hash of the content of each file. It is recomputed only if the size or a timestamp of the file has changed.

    The hash of a recently changed file is not cached, because the file can change again within the clock resolution.

    Raises:
        InputError: if a file cannot be read.
    """
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    stats_file = cache_root() / "images" / f"folder-{name}.json"
    known: Any = {}
    with suppress(InputError):
        known = read_json(stats_file)
    keys, fresh = [], dict[str, list[Any]]()
    for path in paths:
        found = stamp(folder / path)
        if found is None:  # a missing file or dangling link, which may exist again later
            keys.append(MISSING)
            continue
        *before, key = known.get(path, [""])
        keys.append(key if before == found else _file_digest(folder / path))
        if time.time_ns() - max(found[1:]) > CLOCK_NS:
            fresh[path] = [*found, keys[-1]]
    if fresh != known:
        with suppress(OSError):  # a cache may be read-only
            write_json(stats_file, fresh)
    return keys


def cached_set(stored: store.Stored, listing: Listing, reading: Reading) -> ImageSet:
    """The good images of a listing, from the decoded images.

    Raises:
        InputError: if there are bad images and `on_bad_image` is ``"error"``, or if there is no good image.
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
        groups=None if listing.groups is None else listing.groups[good],
        weights=None if listing.weights is None else listing.weights[good],
        skipped=skipped,
        notes=listing.notes,
    )


def allocate(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """Create a memory-mapped ``.npy`` file and reserve its disk space, so that a full disk is detected here."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with writing(path), open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


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
    return f"{count} in {name} ({first}{more}); use --on-bad-image skip to skip them"
