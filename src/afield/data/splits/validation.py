"""Validation images, drawn from the training domains or given by lists."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afield.data.images import SPLITS, ImageSet
from afield.data.splits.groups import Indices, amount, apart, whole_groups
from afield.data.splits.official_lists import listed
from afield.errors import InputError
from afield.records import seed_for

SMALL_DOMAIN, SMALL_DOMAINS = 1000, 4096
"""Largest number of images of a domain whose random order is kept in memory, and largest number of such orders."""


@dataclass(frozen=True)
class Validation:
    """Options for drawing validation images from the training domains.

    Attributes:
        fraction: fraction of each domain (and of each class in it, if stratified), in (0, 1).
        stratified: whether to stratify by class. Otherwise images are drawn at random, as in JiGen with 10 %.
        lists: folder of official split lists ``*_train_*.txt`` and ``*_crossval_*.txt``, with a path and a label per
            line. It overrides the other options.
    """

    fraction: float = 0.1
    stratified: bool = True
    lists: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise InputError(f"the validation fraction must lie between 0 and 1, got {self.fraction}")


def split_validation(data: ImageSet, rest: Indices, validation: Validation, seed: int) -> tuple[Indices, Indices]:
    """Divide the images that are not held out into training and validation images, domain by domain.

    Whole groups are drawn. Training images whose group contains a given or listed validation image are left out.

    Raises:
        InputError: if there are fewer than two images or groups, or the split lists do not fit the data.
    """
    if (data.given[rest] == SPLITS.index("val")).any():
        chosen = data.given[rest] == SPLITS.index("val")
    elif validation.lists is not None:
        chosen = listed(data, rest, Path(validation.lists))
        rest, chosen = rest[chosen >= 0], chosen[chosen >= 0] == 1
    else:
        chosen, fraction = _drawn(data, rest, validation, validation.fraction, seed), validation.fraction
        while not chosen.any() and (fraction := 2 * fraction) < 1:  # all groups are larger than the fraction
            chosen = _drawn(data, rest, validation, fraction, seed)
    val = rest[chosen]
    train = apart(data, rest[~chosen], val)
    if not len(train) or not len(val):
        raise InputError(f"{amount(data.subset(rest))} are too few for training and validation")
    return train, val


def _drawn(data: ImageSet, rest: Indices, validation: Validation, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which of the images are drawn for validation, ``[N]``. The last training image of a class is not drawn."""
    chosen = np.zeros(len(rest), dtype=bool)
    labels, domains = data.labels[rest], data.domains[rest]
    left = Counter(labels.tolist())
    counts = _validation_counts(domains, fraction, seed)
    ends = np.cumsum(np.unique(domains, return_counts=True)[1])
    members = np.split(np.argsort(domains, kind="stable"), ends[:-1])
    for (domain, count), inside in zip(counts.items(), members, strict=True):
        draw = _order if len(inside) <= SMALL_DOMAIN else _order.__wrapped__
        order = inside[draw(labels[inside].tobytes(), validation.stratified, seed, data.domain_names[domain])]
        if data.groups is None:
            chosen[[*_single_images(order, labels, count, left)]] = True
        else:
            chosen[[*whole_groups(order, data.groups[rest], labels, count, left)]] = True
    return chosen if data.groups is None else np.isin(data.groups[rest], data.groups[rest][chosen])


def _single_images(order: Indices, labels: Indices, count: int, left: Counter[int]) -> Iterator[int]:
    """Yield `count` indices in order, but not the last image of a class; see `whole_groups`."""
    for index, label in zip(order.tolist(), labels[order].tolist(), strict=True):
        if count <= 0:
            return
        if left[label] > 1:
            yield index
            left[label] -= 1
            count -= 1


def _validation_counts(domains: Indices, fraction: float, seed: int) -> dict[int, int]:
    """The number of validation images in each domain: a fraction of its images, but never all of them.

    For domains in which the fraction is less than one image, the fractions are accumulated in random order. Each time
    the sum reaches one, the current domain provides one image.
    """
    sizes = dict(zip(*(array.tolist() for array in np.unique(domains, return_counts=True)), strict=True))
    counts = {domain: min(size - 1, round(fraction * size)) for domain, size in sizes.items()}
    small = [domain for domain, size in sizes.items() if fraction * size < 1]
    rng = np.random.default_rng(seed_for("validation of small domains", seed))
    total = rng.random()
    for domain in rng.permutation(small).tolist():
        total += fraction * sizes[domain]
        counts[domain] = int(total >= 1 and sizes[domain] > 1)
        total -= counts[domain]
    if not any(counts.values()):
        counts[max(sizes, key=lambda domain: sizes[domain])] = 1
    return counts


@lru_cache(maxsize=SMALL_DOMAINS)
def _order(content: bytes, stratified: bool, seed: int, domain: str) -> Indices:
    """The random order of the images of a domain. If stratified, each class is spread evenly over the order.

    Orders are kept, because the splits of one seed draw the same ones: a thousand domains have a thousand splits.

    Args:
        content: the labels of the images, int64.
        stratified: see `Validation`.
        seed: seed of the split.
        domain: name of the domain.
    """
    labels, rng = np.frombuffer(content, np.int64), np.random.default_rng(seed_for("validation", seed, domain))
    order = rng.permutation(len(labels))
    if stratified:
        sizes = np.unique(labels, return_counts=True)[1]
        by_class = order[np.argsort(labels[order], kind="stable")]
        within = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rank = np.empty(len(labels))
        rank[by_class] = (within + np.repeat(rng.random(len(sizes)), sizes)) / np.repeat(sizes, sizes)
        order = np.argsort(rank, kind="stable")
    return order
