"""Features of images in a cache folder. They are computed in blocks, so that an interrupted computation is resumed."""

import warnings
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afield.data.cache import allocate
from afield.data.stamp import stamp
from afield.records import exclusive, read_json, write_json

FEATURES, STATE = "features.npy", "state.json"


def cached_features(
    folder: Path,
    count: int,
    compute: Callable[[int], Iterator[NDArray[np.floating]]],
    *,
    save_every: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.floating]:
    """The features ``[N, ...]`` in a folder, memory-mapped copy-on-write. Missing ones are computed.

    A damaged computation starts again. If all features are there, nothing is written, so that the cache can be
    read-only.

    Args:
        folder: cache folder. Its name must depend on everything that determines the features.
        count: N.
        compute: yields batches of features ``[B, ...]`` from a given row to the last row.
        save_every: number of batches in a block. A block is not computed again.
        progress: called with the number of finished rows and N.
    """
    if finished(folder) < count:
        with exclusive(folder, wait=True):
            blocks = _blocks(folder)
            if _end(blocks) < count:
                _compute(folder, count, blocks, compute, save_every, progress)
    return np.load(folder / FEATURES, mmap_mode="c")


def finished(folder: Path) -> int:
    """The number of rows that are cached and intact."""
    return _end(_blocks(folder))


def _blocks(folder: Path) -> list[list[int]]:
    """The end row and the checksum of each cached block of features. Empty if a block is damaged.

    A process checks the blocks once, as long as the stamps of the files are the same: each of its runs asks for them.
    """
    return [*_checked_blocks(folder, repr([stamp(folder / name) for name in (STATE, FEATURES)]))]


@cache
def _checked_blocks(folder: Path, stamps: str) -> list[list[int]]:
    if not (folder / STATE).exists():
        return []
    try:
        blocks, start = read_json(folder / STATE)["blocks"], 0
        features = np.load(folder / FEATURES, mmap_mode="r")
        for stop, checksum in blocks:
            if zlib.crc32(features[start:stop].data) != checksum:
                raise ValueError("another checksum")
            start = stop
    except Exception:  # a damaged file can raise any exception
        warnings.warn(f"the features in {folder} are damaged; they are discarded and extracted again", stacklevel=2)
        return []
    return blocks


def _end(blocks: list[list[int]]) -> int:
    return blocks[-1][0] if blocks else 0


def _compute(
    folder: Path,
    count: int,
    blocks: list[list[int]],
    compute: Callable[[int], Iterator[NDArray[np.floating]]],
    save_every: int,
    progress: Callable[[int, int], None],
) -> None:
    path, stop = folder / FEATURES, _end(blocks)
    features = np.lib.format.open_memmap(path, mode="r+") if stop else None
    for number, batch in enumerate(compute(stop), start=1):
        if features is None:
            features = allocate(path, batch.dtype, (count, *batch.shape[1:]))
        start, stop = stop, stop + len(batch)
        features[start:stop] = batch
        progress(stop, count)
        if number % save_every == 0 or stop == count:
            features.flush()
            features = np.lib.format.open_memmap(path, mode="r+")  # releases the memory of the written pages
            blocks.append([stop, zlib.crc32(features[_end(blocks) : stop].data)])
            write_json(folder / STATE, {"blocks": blocks})
