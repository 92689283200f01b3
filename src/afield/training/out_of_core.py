"""Data sets larger than memory: shuffled in blocks, and read in windows into two reused buffers."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from afield.prefetch import prefetch

BLOCK_BYTES = 1 << 20
"""Size of a block, which is read at once, if memory allows."""

BLOCKS = 64
"""Minimum number of blocks in a window."""


def window_rows(memory: int, row_bytes: int, batch: int) -> int:
    """Number of rows in a window, a multiple of `batch`.

    A window uses a sixth of `memory` (in bytes), which leaves room for a second window and for the batches.
    """
    return max(1, memory // 6 // (row_bytes * batch)) * batch


def block_order(count: int, window: int, row_bytes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A permutation of ``range(count)``: blocks in random order, with shuffled rows in each window of blocks.

    A block is a range of consecutive rows, which can be read at once.
    """
    block = max(1, min(BLOCK_BYTES // row_bytes, window // BLOCKS))
    starts = rng.permutation(np.arange(0, count, block))
    order = (starts[:, None] + np.arange(block)).reshape(-1)
    order = order[order < count]
    for start in range(0, count, window):
        rng.shuffle(order[start : start + window])
    return order


def read_batches(array: np.memmap, batches: Sequence[NDArray[np.int64]], window: int) -> Iterator[NDArray]:
    """Yield batches of rows, ``[B, ...]``, of a memory-mapped file. Up to `window` rows are read at a time.

    The next window is read while the batches of the current one are used. The file is read with plain reads instead of
    the memory map, whose pages would count as memory of this process.
    """
    groups = list(_grouped(batches, window))
    longest = max((sum(map(len, group)) for group in groups), default=0)
    buffers = [np.empty((longest, *array.shape[1:]), dtype=array.dtype) for _ in range(2)]

    with open(str(array.filename), "rb") as file:

        def read(index: int) -> tuple[NDArray, NDArray[np.int64]]:
            rows = np.concatenate(groups[index])
            order, buffer = rows.argsort(), buffers[index % 2]
            _read_rows(file, array, rows[order], buffer)
            return buffer, order.argsort()

        for (buffer, slots), group in zip(prefetch(read, range(len(groups)), depth=1), groups, strict=True):
            for batch in np.split(slots, np.cumsum([len(rows) for rows in group[:-1]])):
                yield buffer[batch]


def _grouped(batches: Sequence[NDArray[np.int64]], window: int) -> Iterator[list[NDArray[np.int64]]]:
    """Group batches into windows. A window contains at least one batch."""
    group: list[NDArray[np.int64]] = []
    count = 0
    for rows in batches:
        if group and count + len(rows) > window:
            yield group
            group, count = [], 0
        group.append(rows)
        count += len(rows)
    if group:
        yield group


def _read_rows(file: BinaryIO, array: np.memmap, rows: NDArray[np.int64], buffer: NDArray) -> None:
    """Read sorted rows into the beginning of a buffer, consecutive rows at once."""
    row_bytes, done = array[:1].nbytes, 0
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        file.seek(array.offset + int(run[0]) * row_bytes)
        file.readinto(buffer[done : done + len(run)].data.cast("B"))  # type: ignore[attr-defined]
        done += len(run)
