"""Near duplicates: images of one burst, or copies of one image, found by a perceptual hash."""

import hashlib
import zlib
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from afield.data.cache import cache_root
from afield.data.images import ImageSet
from afield.errors import InputError
from afield.records import write_atomic

MIN_SIDE = 32
"""Smallest side of images in pixels. Smaller images are too similar to each other."""

MAX_BITS, MIN_CORRELATION, MIN_CONTRAST = 10, 0.94, 4.0
"""Largest number of different bits of 64; smallest correlation of the cells; and smallest contrast of an image with
structure (standard deviation of its cells, of 255)."""

GRID = (24, 27)
"""Rows and columns of the gray cells of an image. For the hash, 3 x 3 cells are joined."""

WINDOW, ROTATION, BLOCK = 16, 4, 256


def near_duplicates(data: ImageSet) -> NDArray[np.int64]:
    """Pairs ``[P, 2]`` of indices of near-duplicate images, from the cache or computed; the smaller index comes first.

    Two images are near duplicates if their 64-bit difference hashes are nearly equal and their gray cells correlate.
    Images without structure, such as black frames, and images below `MIN_SIDE` have none. Time and memory are
    proportional to the number of images; see `similar_hashes`.
    """
    if min(data.images.shape[1:3]) < MIN_SIDE:
        return np.empty((0, 2), dtype=np.int64)
    settings = (data.images.shape, MAX_BITS, MIN_CORRELATION, MIN_CONTRAST, GRID, WINDOW, ROTATION)
    key = hashlib.sha256(data.digests.tobytes() + repr(settings).encode()).hexdigest()[:24]
    file = cache_root() / "near-duplicates" / f"{key}.zlib"
    with suppress(OSError, ValueError, zlib.error):
        return np.frombuffer(zlib.decompress(file.read_bytes()), dtype=np.int64).reshape(-1, 2)
    pairs = _alike(gray_cells(data.images))
    with suppress(InputError, OSError):  # a cache may be read-only
        write_atomic(file, zlib.compress(pairs.tobytes(), 1))
    return pairs


def near_duplicate_groups(data: ImageSet) -> NDArray[np.int64]:
    """The group of each image, ``[N]``: images that are connected by pairs of near duplicates.

    Raises:
        InputError: if the images are too small.
    """
    if min(data.images.shape[1:3]) < MIN_SIDE:
        raise InputError(
            f"--group near-duplicates needs images of {MIN_SIDE} pixels or more; {data.name} has smaller ones"
        )
    first, second = near_duplicates(data).T
    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(len(data), len(data)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def difference_hashes(cells: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Gray cells ``[N, 24, 27]`` -> 64-bit hashes ``[N]``: whether each of 8 x 8 areas is darker than the next one."""
    areas = np.stack([cells[:, row::3, column::3] for row in range(3) for column in range(3)]).sum(0, dtype=np.uint16)
    return np.packbits((areas[:, :, 1:] > areas[:, :, :-1]).reshape(-1, 64), axis=1).view(np.uint64).ravel()


def similar_hashes(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs ``[P, 2]`` of indices, the smaller one first, whose hashes differ in at most `MAX_BITS` bits.

    The hashes are sorted by each rotation of their bits, and each is compared with its next neighbors in the sorted
    list, `WINDOW` of them. A pair can be missed only if many other hashes share the same leading bits.
    """
    count, found = len(hashes), [np.empty(0, dtype=np.int64)]
    for rotation in range(0, 64, ROTATION):
        rotated = (hashes << np.uint64(rotation)) | (hashes >> np.uint64((64 - rotation) % 64))
        order = np.argsort(rotated, kind="stable")
        rotated = rotated[order]
        for step in range(1, min(WINDOW + 1, count)):
            different = np.bitwise_xor(rotated[step:], rotated[:-step])
            close = np.flatnonzero((_bit_counts(different) <= MAX_BITS) & ((different > 0) | (rotation == 0)))
            first, second = order[close], order[close + step]
            found.append(np.minimum(first, second) * count + np.maximum(first, second))
    codes = np.unique(np.concatenate(found))
    return np.stack(np.divmod(codes, max(count, 1)), axis=1)


def _bit_counts(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The number of bits that are set, by sums of neighboring bits, pairs and fours, and of all bytes."""
    pairs, fours, eights, ones = (np.uint64((2**64 - 1) // divisor) for divisor in (3, 5, 17, 255))
    values = values - ((values >> np.uint64(1)) & pairs)
    values = (values & fours) + ((values >> np.uint64(2)) & fours)
    return ((values + (values >> np.uint64(4)) & eights) * ones) >> np.uint64(56)


def gray_cells(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images ``[N, H, W, 3]`` -> the mean gray values of their cells, ``[N, 24, 27]``."""
    cells = np.empty((len(images), *GRID), dtype=np.uint8)
    sides = [(np.arange(count) * side // count, side) for count, side in zip(GRID, images.shape[1:3], strict=True)]
    (rows, heights), (columns, widths) = (
        (starts, np.maximum(np.diff(starts, append=side), 1)) for starts, side in sides
    )
    for start in range(0, len(images), BLOCK):
        gray = images[start : start + BLOCK].mean(axis=3, dtype=np.float32)
        sums = np.add.reduceat(np.add.reduceat(gray, rows, axis=1), columns, axis=2)
        cells[start : start + BLOCK] = sums / (heights[:, None] * widths)
    return cells


def _alike(cells: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pairs of images with similar hashes whose cells correlate, ``[P, 2]``."""
    flat = cells.reshape(len(cells), -1)
    contrast = np.array([row.std(dtype=np.float32) for row in flat])
    structured = np.flatnonzero(contrast >= MIN_CONTRAST)
    pairs = structured[similar_hashes(difference_hashes(cells[structured]))]
    alike = np.zeros(len(pairs), dtype=bool)
    for start in range(0, len(pairs), 16 * BLOCK):
        part = slice(start, start + 16 * BLOCK)
        first, second = (flat[side].astype(np.float32) for side in pairs[part].T)
        first -= first.mean(axis=1, keepdims=True)
        second -= second.mean(axis=1, keepdims=True)
        spread = contrast[pairs[part]].prod(axis=1)
        alike[part] = (first * second).mean(axis=1) >= MIN_CORRELATION * spread
    return pairs[alike]
