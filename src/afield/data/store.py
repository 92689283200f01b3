"""Writing of decoded images to an ``.npy`` file, with few images in memory at a time."""

import os
import shutil
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from afield.data.decode import BadImageError
from afield.data.images import pixel_digest
from afield.data.stamp import stamp
from afield.prefetch import prefetch
from afield.records import canonical_json, read_json, write_json, writing

T = TypeVar("T")

INDEX, IMAGES, DIGESTS = "index.json", "images.npy", "digests.npy"

ROWS = 64
"""Number of images that are read at a time for the checksum."""


@dataclass(frozen=True)
class Stored:
    """Memory-mapped images ``[N, H, W, 3]``, their digests ``[N]``, and their index."""

    images: NDArray[np.uint8]
    digests: NDArray[np.uint64]
    index: dict[str, Any]


def read(folder: Path) -> Stored | None:
    """Read a folder written by `fill`. Return None if it is missing or damaged (wrong checksum).

    The checksum of the images is computed again only if the stamp of their file has changed. All of them are read for
    it.
    """
    try:
        index = read_json(folder / INDEX)
        images, digests = np.load(folder / IMAGES, mmap_mode="r"), np.load(folder / DIGESTS)
        whole = index.pop("checksum") == _checksum(digests, index)
        whole = whole and (index["stamp"] == stamp(folder / IMAGES) or index["pixels"] == _pixel_checksum(images))
    except Exception:  # a damaged file can raise any exception
        return None
    return Stored(images, digests, index) if whole else None


def _pixel_checksum(images: NDArray[np.uint8]) -> int:
    """CRC-32 of the images."""
    found = 0
    for start in range(0, len(images), ROWS):
        found = zlib.crc32(images[start : start + ROWS].data, found)
    return found


def _checksum(digests: NDArray[np.uint64], index: dict[str, Any]) -> int:
    """CRC-32 of the digests and the index, which contains the checksum of the pixels."""
    return zlib.crc32(canonical_json(index).encode(), zlib.crc32(digests.data))


def fill(
    target: Path,
    decode: Callable[[T], NDArray[np.uint8]],
    items: Iterable[T],
    shape: tuple[int, ...],
    *,
    progress: Callable[[int], None] = lambda done: None,
    about: Callable[[], dict[str, Any]] = dict,
) -> None:
    """Create the folder `target` with the good images, their digests and an index, atomically.

    Args:
        target: path of the folder; an existing folder is replaced.
        decode: converts an item to a uint8 image of `shape`, called in several threads; `BadImageError` marks the item
            as bad.
        items: items to decode, read one by one.
        shape: shape of the images, ``(H, W, 3)``.
        progress: called with the number of finished items.
        about: called after all items are read; its result is stored in the index, in addition to the bad items.
    """

    def work(item: T) -> tuple[NDArray[np.uint8], int] | str:
        try:
            image = np.ascontiguousarray(decode(item))
            return image, pixel_digest(image)
        except BadImageError as error:
            return str(error)

    bad, digests, pixels, threads = list[tuple[int, str]](), list[int](), 0, os.cpu_count() or 1
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with writing(partial / IMAGES), open(partial / IMAGES, "wb") as file:
            _header(file, (0, *shape))
            for index, found in enumerate(prefetch(work, items, threads=threads, depth=4 * threads)):
                progress(index + 1)
                if isinstance(found, str):
                    bad.append((index, found))
                else:
                    file.write(found[0].data)
                    pixels = zlib.crc32(found[0].data, pixels)
                    digests.append(found[1])
            file.seek(0)
            _header(file, (len(digests), *shape))
            file.flush()
            os.fsync(file.fileno())
        hashes = np.array(digests, dtype=np.uint64)
        contents = {"bad": bad, **about(), "pixels": pixels, "stamp": stamp(partial / IMAGES)}
        with writing(partial / DIGESTS):
            np.save(partial / DIGESTS, hashes)
        write_json(partial / INDEX, {**contents, "checksum": _checksum(hashes, contents)})
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Write the header of the file. NumPy reserves space for a larger first dimension."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
