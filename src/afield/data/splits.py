"""Splits of a data set into training, validation and test images: one `Fold` per held-out domain."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afield.data.images import SPLITS, ImageSet
from afield.errors import InputError
from afield.records import seed_for

Indices = NDArray[np.int64]

CROSS_VALIDATION_FOLDS = 5

SMALL_DOMAIN, SMALL_DOMAINS = 1000, 4096
"""Largest number of images of a domain whose random order is kept in memory, and largest number of such orders."""


@dataclass(frozen=True)
class Fold:
    """A split of an `ImageSet`, given by indices.

    `held_out` contains the names of the unseen parts, and `tests` the indices of each. `train` and `val` divide the
    images of the other parts, except given test images and images whose group is also in an unseen part. Images of
    weight 0 do not train. `adapt` contains the images of each unseen part that are given without labels, if any. No
    group is in two of them.
    """

    held_out: tuple[str, ...]
    train: Indices
    val: Indices
    tests: dict[str, Indices]
    adapt: dict[str, Indices] = field(default_factory=dict)

    def hash(self, data: ImageSet) -> str:
        """A hash of the pixels in each part. Equal splits of equal data have equal hashes."""
        digest = hashlib.sha256()
        for part in (self.train, self.val, *self.tests.values(), *self.adapt.values()):
            digest.update(np.sort(data.digests[part]).tobytes() + b"|")
        return digest.hexdigest()[:16]


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


@dataclass(frozen=True)
class Unlabeled:
    """Which images of an unseen part are given without their labels, to adapt to.

    Attributes:
        fraction: of each unseen part, in (0, 1), drawn at random; the others test. None gives the test images
            themselves (transductive).
    """

    fraction: float | None

    def __post_init__(self) -> None:
        if self.fraction is not None and not 0 < self.fraction < 1:
            raise InputError(f"--adapt-fraction must lie between 0 and 1, got {self.fraction}")

    @property
    def transductive(self) -> bool:
        """Whether the images to adapt to are the test images."""
        return self.fraction is None

    def describe(self) -> str:
        """How recipes are tested, in one line for tables and reports."""
        if self.fraction is None:
            return "TRANSDUCTIVE: recipes that adapt see the test images themselves, without labels"
        return (
            f"{100 * self.fraction:g} % of each unseen domain is given without labels; all recipes are tested on the "
            "other images"
        )


def parts_of(data: ImageSet) -> tuple[str, ...]:
    """The parts to hold out one at a time: the domains, the given test set, or else five folds."""
    if data.has_domains:
        return data.domain_names
    if (data.given == SPLITS.index("test")).any():
        return ("test",)
    return tuple(f"fold {i + 1}" for i in range(CROSS_VALIDATION_FOLDS))


def make_fold(
    data: ImageSet,
    held_out: Sequence[str],
    validation: Validation,
    seed: int,
    unlabeled: Unlabeled | None = None,
    train_domains: Sequence[str] = (),
) -> Fold:
    """The split for these unseen parts. Equal arguments give equal splits, independent of the recipe.

    Args:
        data: images.
        held_out: unseen parts, from `parts_of`.
        validation: options for drawing validation images.
        seed: seed of all draws.
        unlabeled: which images of the unseen parts are given without labels.
        train_domains: domains to train on; by default, all that are not held out.

    Raises:
        InputError: if no images are left to train or to test on, or the split lists do not fit the data.
    """
    part = _part_of_each_image(data, seed)
    names = parts_of(data)
    tests = {name: np.flatnonzero(part == names.index(name)) for name in held_out}
    out = np.isin(part, [names.index(name) for name in held_out]) | (data.given == SPLITS.index("test"))
    if train_domains:
        out |= ~np.isin(part, [names.index(name) for name in train_domains])
    rest = _apart(data, np.flatnonzero(~out), np.concatenate([*tests.values(), np.empty(0, np.int64)]))
    if not len(rest):
        raise InputError(f"holding out {', '.join(held_out)} leaves no training images")
    for name, test in tests.items():
        if not len(test):
            few = "" if data.has_domains else f"; {_amount(data)} are too few for {CROSS_VALIDATION_FOLDS} folds"
            raise InputError(f"{name} has no test images{few}")
    train, val = split_validation(data, rest, validation, seed)
    if data.weights is not None and not len(train := train[data.weights[train] > 0]):
        raise InputError("no training image has a weight above 0")
    if unlabeled is None:
        return Fold(tuple(held_out), train, val, tests)
    adapt = {name: _unlabeled_images(data, test, name, unlabeled, seed) for name, test in tests.items()}
    if not unlabeled.transductive:
        tests = {name: np.setdiff1d(test, adapt[name]) for name, test in tests.items()}
    return Fold(tuple(held_out), train, val, tests, adapt)


def _apart(data: ImageSet, indices: Indices, others: Indices) -> Indices:
    """The indices of images whose group contains none of the other images."""
    return indices if data.groups is None else indices[~np.isin(data.groups[indices], data.groups[others])]


def _amount(data: ImageSet) -> str:
    return f"{len(data)} images" if data.groups is None else f"{len(np.unique(data.groups))} groups"


def _unlabeled_images(data: ImageSet, test: Indices, name: str, unlabeled: Unlabeled, seed: int) -> Indices:
    """The images of an unseen part to adapt to, in order; the draw depends on their number alone, never on a label."""
    if unlabeled.fraction is None:
        return test
    if len(test) < 2:
        raise InputError(f"{name} has {len(test)} image; --adapt-fraction needs at least 2, to adapt to and to test on")
    count = min(max(round(unlabeled.fraction * len(test)), 1), len(test) - 1)
    rng = np.random.default_rng(seed_for("adaptation", seed, name))
    order = rng.permutation(test)
    if data.groups is None:
        return np.sort(order[:count])
    while not (
        found := [*_whole_groups(order, data.groups, np.zeros_like(data.labels), count, Counter({0: len(test)}))]
    ):
        if (count := 2 * count) > 2 * len(test):
            raise InputError(f"{name} is a single group; --adapt-fraction needs at least 2, to adapt to and to test on")
    return np.sort(np.array(found, dtype=np.int64))


def split_validation(data: ImageSet, rest: Indices, validation: Validation, seed: int) -> tuple[Indices, Indices]:
    """Divide the images that are not held out into training and validation images, domain by domain.

    Whole groups are drawn. Training images whose group contains a given or listed validation image are left out.

    Raises:
        InputError: if there are fewer than two images or groups, or the split lists do not fit the data.
    """
    if (data.given[rest] == SPLITS.index("val")).any():
        chosen = data.given[rest] == SPLITS.index("val")
    elif validation.lists is not None:
        chosen = _listed(data, rest, Path(validation.lists))
        rest, chosen = rest[chosen >= 0], chosen[chosen >= 0] == 1
    else:
        chosen, fraction = _drawn(data, rest, validation, validation.fraction, seed), validation.fraction
        while not chosen.any() and (fraction := 2 * fraction) < 1:  # all groups are larger than the fraction
            chosen = _drawn(data, rest, validation, fraction, seed)
    val = rest[chosen]
    train = _apart(data, rest[~chosen], val)
    if not len(train) or not len(val):
        raise InputError(f"{_amount(data.subset(rest))} are too few for training and validation")
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
            chosen[[*_whole_groups(order, data.groups[rest], labels, count, left)]] = True
    return chosen if data.groups is None else np.isin(data.groups[rest], data.groups[rest][chosen])


def _single_images(order: Indices, labels: Indices, count: int, left: Counter[int]) -> Iterator[int]:
    """Yield `count` indices in order, but not the last image of a class; see `_whole_groups`."""
    for index, label in zip(order.tolist(), labels[order].tolist(), strict=True):
        if count <= 0:
            return
        if left[label] > 1:
            yield index
            left[label] -= 1
            count -= 1


def _whole_groups(order: Indices, groups: Indices, labels: Indices, count: int, left: Counter[int]) -> Iterator[int]:
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


def _part_of_each_image(data: ImageSet, seed: int) -> Indices:
    """Index into `parts_of` for each image; -1 for given training images, which are never held out."""
    if data.has_domains:
        return data.domains
    if (data.given == SPLITS.index("test")).any():
        return np.where(data.given == SPLITS.index("test"), 0, -1)
    rng = np.random.default_rng(seed_for("cross-validation", seed))
    return deal(data.labels, CROSS_VALIDATION_FOLDS, rng, data.groups)


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


def _listed(data: ImageSet, rest: Indices, folder: Path) -> NDArray[np.int8]:
    """1 for images in an official validation list, 0 for images in a training list, -1 for all other images."""
    says: dict[str, int] = {}
    for pattern, value in (("*train*.txt", 0), ("*crossval*.txt", 1)):
        for file in sorted(folder.glob(pattern)):
            for line in filter(str.strip, file.read_text(errors="surrogateescape").splitlines()):
                says[line.rsplit(maxsplit=1)[0]] = value
    if not says:
        raise InputError(f"--splits {folder}: found no *train*.txt and *crossval*.txt lists")
    found = np.array([says.get(data.paths[i], -1) for i in rest], dtype=np.int8)
    for domain in np.unique(data.domains[rest]):
        if (found[data.domains[rest] == domain] < 0).all():
            raise InputError(f"--splits {folder}: no list contains an image of domain {data.domain_names[domain]!r}")
    return found
