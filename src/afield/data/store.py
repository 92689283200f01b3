"""Writing of decoded images to an ``.npy`` file, with few images in memory at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from afield.data.decode import BadImageError
from afield.data.images import pixel_digest
from afield.prefetch import prefetch
from afield.records import write_json

T = TypeVar("T")

INDEX, IMAGES, DIGESTS = "index.json", "images.npy", "digests.npy"


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
        target: path of the new folder, which must not exist.
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

    bad, digests, threads = list[tuple[int, str]](), list[int](), os.cpu_count() or 1
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with open(partial / IMAGES, "wb") as file:
            _header(file, (0, *shape))
            for index, found in enumerate(prefetch(work, items, threads=threads, depth=4 * threads)):
                progress(index + 1)
                if isinstance(found, str):
                    bad.append((index, found))
                else:
                    file.write(found[0].data)
                    digests.append(found[1])
            file.seek(0)
            _header(file, (len(digests), *shape))
            file.flush()
            os.fsync(file.fileno())
        np.save(partial / DIGESTS, np.array(digests, dtype=np.uint64))
        write_json(partial / INDEX, {"bad": bad, **about()})
        os.replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Write the header of the file. NumPy reserves space for a larger first dimension."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
