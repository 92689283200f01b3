"""Sets larger than memory: shuffled in blocks, read window by window into two reused buffers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from afield.prefetch import prefetch

BLOCK_BYTES = 1 << 20
"""How much is read in one piece where memory allows."""

BLOCKS = 64
"""The smallest number of blocks that a window is mixed from."""


def window_rows(memory: int, row_bytes: int, batch: int) -> int:
    """Rows of a window, in whole batches: a sixth of `memory` (bytes), to leave room for a second window and for the
    batches that are made of both."""
    return max(1, memory // 6 // (row_bytes * batch)) * batch


def block_order(count: int, window: int, row_bytes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Every number below `count` once: blocks in a random order, and the rows of each window of them shuffled.

    A block is a run of neighbors, which a file gives in one piece.
    """
    block = max(1, min(BLOCK_BYTES // row_bytes, window // BLOCKS))
    starts = rng.permutation(np.arange(0, count, block))
    order = (starts[:, None] + np.arange(block)).reshape(-1)
    order = order[order < count]
    for start in range(0, count, window):
        rng.shuffle(order[start : start + window])
    return order


def read_batches(array: np.memmap, batches: Sequence[NDArray[np.int64]], window: int) -> Iterator[NDArray]:
    """The rows of a mapped file, ``[B, ...]`` for each batch of them, by plain reads of up to `window` rows at a time.

    The next window is read while the batches of this one are handed out. The map itself is not touched: its pages
    would count as this process's memory.
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
    """Batches, as many together as fit into a window, at least one."""
    group: list[NDArray[np.int64]] = []
    for rows in batches:
        if group and sum(map(len, group)) + len(rows) > window:
            yield group
            group = []
        group.append(rows)
    if group:
        yield group


def _read_rows(file: BinaryIO, array: np.memmap, rows: NDArray[np.int64], buffer: NDArray) -> None:
    """Sorted rows into the beginning of a buffer, neighbors in one piece."""
    row_bytes, done = array[:1].nbytes, 0
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        file.seek(array.offset + int(run[0]) * row_bytes)
        file.readinto(buffer[done : done + len(run)].data.cast("B"))  # type: ignore[attr-defined]
        done += len(run)
