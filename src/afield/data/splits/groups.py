"""Groups of images that a split must not separate, such as the frames of one video."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from afield.data.images import ImageSet

Indices = NDArray[np.int64]


def amount(data: ImageSet) -> str:
    """The number of groups, or of images if there are none, for messages."""
    return f"{len(data)} images" if data.groups is None else f"{len(np.unique(data.groups))} groups"


def apart(data: ImageSet, indices: Indices, others: Indices) -> Indices:
    """The indices of images whose group contains none of the other images."""
    return indices if data.groups is None else indices[~np.isin(data.groups[indices], data.groups[others])]


def whole_groups(order: Indices, groups: Indices, labels: Indices, count: int, left: Counter[int]) -> Iterator[int]:
    """Yield indices group by group, in order, as long as each group brings their number closer to `count`.

    Args:
        order: indices to choose from.
        groups: group of each image.
        labels: class of each image.
        count: number of images to choose.
        left: number of images of each class that are not chosen; updated. One image of each class is always left.
    """
    members: dict[int, list[int]] = {}
    for index, group in zip(order.tolist(), groups[order].tolist(), strict=True):
        members.setdefault(group, []).append(index)
    for group in members.values():
        if count <= 0:
            return
        classes = Counter(labels[group].tolist())
        if len(group) < 2 * count and all(left[label] > found for label, found in classes.items()):
            yield from group
            left.subtract(classes)
            count -= len(group)


def deal(strata: Indices, folds: int, rng: np.random.Generator, groups: Indices | None = None) -> Indices:
    """Assign a fold index to each of N images, ``[N]``, so that each stratum is spread evenly over the folds.

    Without groups, the images of each stratum are assigned in turn, in random order. With groups, each group is
    assigned to the fold with the fewest images of its most frequent stratum, the largest group first.

    Args:
        strata: stratum of each image, such as its class, ``[N]``.
        folds: number of folds.
        rng: generator of the random order.
        groups: group of each image, ``[N]``; all images of a group are in one fold.
    """
    part = np.empty(len(strata), dtype=np.int64)
    if groups is not None:
        counts, sizes = dict[int, list[int]](), [0] * folds
        ends = np.cumsum(np.unique(groups, return_counts=True)[1])
        members = np.split(np.argsort(groups, kind="stable"), ends[:-1])
        for index in sorted(rng.permutation(len(members)).tolist(), key=lambda each: -len(members[each])):
            group = members[index]
            of_stratum = counts.setdefault(int(np.bincount(strata[group]).argmax()), [0] * folds)
            fold = min(range(folds), key=lambda each: (of_stratum[each], sizes[each]))
            part[group] = fold
            of_stratum[fold] += len(group)
            sizes[fold] += len(group)
        return part
    start = 0
    for stratum in np.unique(strata):
        members_of_stratum = rng.permutation(np.flatnonzero(strata == stratum))
        part[members_of_stratum] = (np.arange(len(members_of_stratum)) + start) % folds
        start += len(members_of_stratum)
    return part
