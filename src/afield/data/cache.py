"""Decode a folder once into a memory-mapped uint8 array, keyed by what the files contain."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike

from afield.data.decode import BadImageError, decode, squash
from afield.data.images import ImageSet, pixel_digest
from afield.data.layout import Listing
from afield.errors import InputError
from afield.records import canonical_json, exclusive, read_json, write_json

OnBadImage = Literal["error", "skip"]

FORMAT = 1


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
    progress: Callable[[int, int], None] = lambda done, total: None,
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
    root = cache_root() / "images"
    with exclusive(root, wait=True):
        keys = _content_keys(listing, root / f"{_name(listing)}.json")
        target = root / hashlib.sha256(canonical_json([FORMAT, image_size, keys]).encode()).hexdigest()[:24]
        if not (target / "index.json").exists():
            _decode_all(listing, image_size, target, progress)
    index = read_json(target / "index.json")
    bad: dict[str, str] = {listing.paths[i]: reason for i, reason in index["bad"]}
    if bad and on_bad_image == "error":
        raise InputError(_bad_message(listing.root, bad))
    good = np.array([i for i, path in enumerate(listing.paths) if path not in bad], dtype=np.int64)
    if not len(good):
        raise InputError(_bad_message(listing.root, bad))
    images = np.load(target / "images.npy", mmap_mode="r")
    return ImageSet(
        name=str(listing.root),
        images=images if not bad else images[good],
        labels=np.array(listing.classes, dtype=np.int64)[good],
        domains=np.array(listing.domains, dtype=np.int64)[good],
        digests=np.load(target / "digests.npy")[good],
        class_names=listing.class_names,
        domain_names=listing.domain_names,
        paths=tuple(listing.paths[i] for i in good),
        given=np.array(listing.given, dtype=np.int8)[good],
        skipped=tuple(sorted(bad.items())),
    )


def allocate(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap:
    """A new memory-mapped ``.npy`` with its disk space reserved: a full disk is an error here, not a crash later."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _name(listing: Listing) -> str:
    return "folder-" + hashlib.sha256(str(listing.root.resolve()).encode()).hexdigest()[:16]


def _content_keys(listing: Listing, stats_file: Path) -> list[str]:
    """A hash of each file's bytes, taken anew only where the file's size or time of change differ."""
    known: dict[str, list[Any]] = read_json(stats_file) if stats_file.exists() else {}
    stats = {path: os.stat(listing.root / path) for path in listing.paths}
    fresh: dict[str, list[Any]] = {
        path: known[path]
        if path in known and known[path][:2] == [stat.st_size, stat.st_mtime_ns]
        else [stat.st_size, stat.st_mtime_ns, _file_digest(listing.root / path)]
        for path, stat in stats.items()
    }
    if fresh != known:
        write_json(stats_file, fresh)
    return [fresh[path][2] for path in listing.paths]


def _file_digest(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except PermissionError:
        raise InputError(f"cannot read {path}: permission denied") from None


def _decode_all(listing: Listing, size: int, target: Path, progress: Callable[[int, int], None]) -> None:
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        count = len(listing.paths)
        images = allocate(partial / "images.npy", np.uint8, (count, size, size, 3))
        digests = np.zeros(count, dtype=np.uint64)

        def one(i: int) -> tuple[int, str] | None:
            try:
                images[i] = squash(decode((listing.root / listing.paths[i]).read_bytes()), size)
            except BadImageError as error:
                return i, str(error)
            digests[i] = pixel_digest(images[i])
            return None

        bad = []
        with ThreadPoolExecutor() as pool:
            for done, failure in enumerate(pool.map(one, range(count)), start=1):
                progress(done, count)
                if failure:
                    bad.append(failure)
        images.flush()
        np.save(partial / "digests.npy", digests)
        write_json(partial / "index.json", {"bad": bad})
        os.replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _bad_message(root: Path, bad: dict[str, str]) -> str:
    shown = "; ".join(f"{path}: {reason}" for path, reason in sorted(bad.items())[:5])
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    count = f"{len(bad)} bad image{'s' if len(bad) > 1 else ''}"
    return f"{count} in {root} ({shown}{more}); --on-bad-image skip passes over them"
