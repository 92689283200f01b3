"""The leak check: equal and nearly equal images that are on both sides of a split, or can be."""

from collections import Counter
from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from afield.data.images import SPLITS, ImageSet
from afield.data.near_duplicates import near_duplicates


def leaks(data: ImageSet) -> list[str]:
    """Lines about equal images in two domains or given splits, and about near duplicates, each with its consequence.

    Images of one group are always on the same side of a split, and are no leakage.
    """
    sides = data.domains if data.has_domains else (data.given == SPLITS.index("test")).astype(np.int64)
    groups = np.arange(len(data)) if data.groups is None else data.groups
    names = data.domain_names if data.has_domains else ("train", "test")
    return [*_same_pixels(data, sides, groups, names), *_near_duplicates(data, sides, groups)]


def _same_pixels(
    data: ImageSet, sides: NDArray[np.int64], groups: NDArray[np.int64], names: tuple[str, ...]
) -> Iterator[str]:
    found: dict[int, dict[str, set[int]]] = {}
    for digest, side, group in zip(data.digests.tolist(), sides.tolist(), groups.tolist(), strict=True):
        found.setdefault(digest, {}).setdefault(names[side], set()).add(group)
    pairs = Counter(
        pair for by_side in found.values() for pair in combinations(sorted(by_side), 2)
        if len(by_side[pair[0]] | by_side[pair[1]]) > 1
    )  # fmt: skip
    for (first, second), count in sorted(pairs.items()):
        yield f"leakage: {count:,} image{'s' if count > 1 else ''} with the same pixels in {first} and {second}"


def _near_duplicates(data: ImageSet, sides: NDArray[np.int64], groups: NDArray[np.int64]) -> Iterator[str]:
    pairs = near_duplicates(data)
    pairs = pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]
    across = sides[pairs[:, 0]] != sides[pairs[:, 1]]
    different = data.digests[pairs[:, 0]] != data.digests[pairs[:, 1]]
    if (found := across & different).any():
        where = "another domain" if data.has_domains else "the other of train and test"
        yield f"leakage: {_counted(data, pairs[found], where)}; the accuracy will be higher than in a new place"
    if (~across).any():
        folds = not data.has_domains and not sides.any()
        where = "the same domain" if data.has_domains else "the data" if folds else "the same split"
        what = "test folds and validation images" if folds else "validation images"
        yield (
            f"leakage: {_counted(data, pairs[~across], where)}; {what} will be too easy; "
            "keep near duplicates together with --group near-duplicates, or bursts with --group COLUMN"
        )


def _counted(data: ImageSet, pairs: NDArray[np.int64], where: str) -> str:
    first, second = pairs[0]
    example = f"such as {data.paths[first]} and {data.paths[second]}"
    return f"{len(np.unique(pairs)):,} of {len(data):,} images have near duplicates in {where}, {example}"
