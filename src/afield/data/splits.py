"""Splits of a data set into training, validation and test images: one `Fold` per held-out domain."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from afield.data.images import SPLITS, ImageSet
from afield.errors import InputError
from afield.records import seed_for

Indices = NDArray[np.int64]

CROSS_VALIDATION_FOLDS = 5


@dataclass(frozen=True)
class Fold:
    """A split of an `ImageSet`, given by indices.

    `held_out` contains the names of the unseen parts, and `tests` the indices of each. `train` and `val` divide the
    images of the other parts. `adapt` contains the images of each unseen part that are given without labels, if any.
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
    data: ImageSet, held_out: Sequence[str], validation: Validation, seed: int, unlabeled: Unlabeled | None = None
) -> Fold:
    """The split for these unseen parts. Equal arguments give equal splits, independent of the recipe.

    Raises:
        InputError: if no images are left to train or to test on, or the split lists do not fit the data.
    """
    part = _part_of_each_image(data, seed)
    names = parts_of(data)
    tests = {name: np.flatnonzero(part == names.index(name)) for name in held_out}
    rest = np.flatnonzero(~np.isin(part, [names.index(name) for name in held_out]))
    if not len(rest):
        raise InputError(f"holding out {', '.join(held_out)} leaves no training images")
    for name, test in tests.items():
        if not len(test):
            few = "" if data.has_domains else f"; {len(data)} images are too few for {CROSS_VALIDATION_FOLDS} folds"
            raise InputError(f"{name} has no test images{few}")
    train, val = split_validation(data, rest, validation, seed)
    if unlabeled is None:
        return Fold(tuple(held_out), train, val, tests)
    adapt = {name: _unlabeled_images(test, name, unlabeled, seed) for name, test in tests.items()}
    if not unlabeled.transductive:
        tests = {name: np.setdiff1d(test, adapt[name]) for name, test in tests.items()}
    return Fold(tuple(held_out), train, val, tests, adapt)


def _unlabeled_images(test: Indices, name: str, unlabeled: Unlabeled, seed: int) -> Indices:
    """The images of an unseen part to adapt to, in order; the draw depends on their number alone, never on a label."""
    if unlabeled.fraction is None:
        return test
    if len(test) < 2:
        raise InputError(f"{name} has {len(test)} image; --adapt-fraction needs at least 2, to adapt to and to test on")
    count = min(max(round(unlabeled.fraction * len(test)), 1), len(test) - 1)
    rng = np.random.default_rng(seed_for("adaptation", seed, name))
    return np.sort(rng.permutation(test)[:count])


def split_validation(data: ImageSet, rest: Indices, validation: Validation, seed: int) -> tuple[Indices, Indices]:
    """Divide the images that are not held out into training and validation images, domain by domain.

    Raises:
        InputError: if there are fewer than two images, or the split lists do not fit the data.
    """
    if (data.given[rest] == SPLITS.index("val")).any():
        chosen = data.given[rest] == SPLITS.index("val")
    elif validation.lists is not None:
        chosen = _listed(data, rest, Path(validation.lists))
        rest, chosen = rest[chosen >= 0], chosen[chosen >= 0] == 1
    else:
        chosen = np.zeros(len(rest), dtype=bool)
        left = np.bincount(data.labels[rest])
        for domain, count in _validation_counts(data.domains[rest], validation.fraction, seed).items():
            rng = np.random.default_rng(seed_for("validation", seed, data.domain_names[domain]))
            inside = np.flatnonzero(data.domains[rest] == domain)
            labels = data.labels[rest[inside]]
            for index in _order(labels, validation, rng):
                if count and left[labels[index]] > 1:
                    chosen[inside[index]] = True
                    left[labels[index]] -= 1
                    count -= 1
    if chosen.all() or not chosen.any():
        raise InputError(f"{len(rest)} images are too few for training and validation")
    return rest[~chosen], rest[chosen]


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


def _order(labels: Indices, validation: Validation, rng: np.random.Generator) -> Indices:
    """The random order of the images of a domain. If stratified, each class is spread evenly over the order."""
    order = rng.permutation(len(labels))
    if validation.stratified:
        rank = np.empty(len(labels))
        for label in np.unique(labels):
            members = order[labels[order] == label]
            rank[members] = (np.arange(len(members)) + rng.random()) / len(members)
        order = np.argsort(rank, kind="stable")
    return order


def _part_of_each_image(data: ImageSet, seed: int) -> Indices:
    """Index into `parts_of` for each image; -1 for given training images, which are never held out."""
    if data.has_domains:
        return data.domains
    if (data.given == SPLITS.index("test")).any():
        return np.where(data.given == SPLITS.index("test"), 0, -1)
    return deal(data.labels, CROSS_VALIDATION_FOLDS, np.random.default_rng(seed_for("cross-validation", seed)))


def deal(groups: Indices, folds: int, rng: np.random.Generator) -> Indices:
    """Assign a fold index to each of N images, ``[N]``. The images of each group are assigned in turn, in random order.

    Args:
        groups: group of each image, ``[N]``.
        folds: number of folds.
        rng: generator of the random order.
    """
    part = np.empty(len(groups), dtype=np.int64)
    start = 0
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        part[members] = (np.arange(len(members)) + start) % folds
        start += len(members)
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
