"""Decode once into a memory-mapped uint8 array, keyed by what the files contain."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from afield.data import store
from afield.data.decode import decode, squash
from afield.data.images import ImageSet
from afield.data.layout import Listing
from afield.errors import InputError
from afield.records import canonical_json, exclusive, read_json, write_json

OnBadImage = Literal["error", "skip"]
TrainState = Callable[[int, int], None]

FORMAT = 2


def cache_root() -> Path:
    """``$AFIELD_CACHE``, or ``afield`` in the user's cache folder."""
    if folder := os.environ.get("AFIELD_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "afield"


def load_listing(
    listing: Listing,
    *,
    image_size: int,
    on_bad_image: OnBadImage = "error",
    progress: TrainState = lambda done, total: None,
) -> ImageSet:
    """The images of a listing, squashed to ``image_size`` squares.

    The first call reads and decodes every file; later calls read only sizes and times of change, or the bytes
    of files whose times changed. Threads decode side by side, because Pillow lets go of the interpreter.

    Args:
        listing: what `afield.data.layout.list_folder` found.
        image_size: side in pixels.
        on_bad_image: ``"error"`` stops at bad files and names them, ``"skip"`` passes over and counts them.
        progress: called with (files done, files in all).

    Raises:
        InputError: bad files under ``"error"``, or no good file at all.
    """

    def read(path: str) -> NDArray[np.uint8]:
        return squash(decode((listing.root / path).read_bytes()), image_size)

    with images_cache() as root:
        target = entry(root, [image_size, content_keys(root, listing.root, listing.paths)])
        if not target.exists():
            count = len(listing.paths)
            store.fill(target, read, listing.paths, (image_size,) * 2 + (3,), progress=lambda n: progress(n, count))
    good, skipped = good_images(target, listing.root, listing.paths, on_bad_image)
    return ImageSet(
        name=str(listing.root),
        images=np.load(target / store.IMAGES, mmap_mode="r"),
        labels=np.array(listing.classes, dtype=np.int64)[good],
        domains=np.array(listing.domains, dtype=np.int64)[good],
        digests=np.load(target / store.DIGESTS),
        class_names=listing.class_names,
        domain_names=listing.domain_names,
        paths=tuple(listing.paths[i] for i in good),
        given=np.array(listing.given, dtype=np.int8)[good],
        skipped=skipped,
    )


@contextmanager
def images_cache() -> Iterator[Path]:
    """The folder of decoded sets, held for this process."""
    root = cache_root() / "images"
    with exclusive(root, wait=True):
        yield root


def entry(root: Path, key: Any) -> Path:
    """The folder of the set under this key, which JSON must be able to hold."""
    return root / hashlib.sha256(canonical_json([FORMAT, key]).encode()).hexdigest()[:24]


def content_keys(root: Path, folder: Path, paths: Sequence[str]) -> list[str]:
    """A hash of each file's bytes, taken anew only where the file's size or time of change differ.

    Raises:
        InputError: a file that may not be read.
    """
    stats_file = root / f"folder-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]}.json"
    known: dict[str, list[Any]] = read_json(stats_file) if stats_file.exists() else {}
    stats = {path: os.stat(folder / path) for path in paths}
    fresh: dict[str, list[Any]] = {
        path: known[path]
        if path in known and known[path][:2] == [stat.st_size, stat.st_mtime_ns]
        else [stat.st_size, stat.st_mtime_ns, _file_digest(folder / path)]
        for path, stat in stats.items()
    }
    if fresh != known:
        write_json(stats_file, fresh)
    return [fresh[path][2] for path in paths]


def good_images(
    target: Path, name: Path | str, paths: Sequence[str], on_bad_image: OnBadImage
) -> tuple[NDArray[np.int64], tuple[tuple[str, str], ...]]:
    """Places of the good items among all `paths` of an entry, and the bad ones with their reasons.

    Raises:
        InputError: bad items under ``"error"``, or no good one.
    """
    bad: dict[int, str] = dict(read_json(target / store.INDEX)["bad"])
    good = np.array([i for i in range(len(paths)) if i not in bad], dtype=np.int64)
    skipped = sorted((paths[i], reason) for i, reason in bad.items())
    if skipped and (on_bad_image == "error" or not len(good)):
        raise InputError(_bad_message(name, skipped))
    return good, tuple(skipped)


def allocate(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """A new memory-mapped ``.npy`` with its disk space reserved: a full disk is an error here, not a crash later."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _file_digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except PermissionError:
        raise InputError(f"cannot read {path}: permission denied") from None


def _bad_message(name: Path | str, bad: Sequence[tuple[str, str]]) -> str:
    shown = "; ".join(f"{path}: {reason}" for path, reason in bad[:5])
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    count = f"{len(bad)} bad image{'s' if len(bad) > 1 else ''}"
    return f"{count} in {name} ({shown}{more}); --on-bad-image skip passes over them"
