"""A split into training, validation and test images, with some parts held out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from afield.data.images import SPLITS, ImageSet
from afield.data.splits.groups import Indices, amount, apart, deal
from afield.data.splits.unlabeled import Unlabeled, unlabeled_images
from afield.data.splits.validation import Validation, split_validation
from afield.errors import InputError
from afield.records import seed_for

CROSS_VALIDATION_FOLDS = 5


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
    rest = apart(data, np.flatnonzero(~out), np.concatenate([*tests.values(), np.empty(0, np.int64)]))
    if not len(rest):
        raise InputError(f"holding out {', '.join(held_out)} leaves no training images")
    for name, test in tests.items():
        if not len(test):
            few = "" if data.has_domains else f"; {amount(data)} are too few for {CROSS_VALIDATION_FOLDS} folds"
            raise InputError(f"{name} has no test images{few}")
    train, val = split_validation(data, rest, validation, seed)
    if data.weights is not None and not len(train := train[data.weights[train] > 0]):
        raise InputError("no training image has a weight above 0")
    if unlabeled is None:
        return Fold(tuple(held_out), train, val, tests)
    adapt = {name: unlabeled_images(data, test, name, unlabeled, seed) for name, test in tests.items()}
    if not unlabeled.transductive:
        tests = {name: np.setdiff1d(test, adapt[name]) for name, test in tests.items()}
    return Fold(tuple(held_out), train, val, tests, adapt)


def _part_of_each_image(data: ImageSet, seed: int) -> Indices:
    """Index into `parts_of` for each image; -1 for given training images, which are never held out."""
    if data.has_domains:
        return data.domains
    if (data.given == SPLITS.index("test")).any():
        return np.where(data.given == SPLITS.index("test"), 0, -1)
    rng = np.random.default_rng(seed_for("cross-validation", seed))
    return deal(data.labels, CROSS_VALIDATION_FOLDS, rng, data.groups)
