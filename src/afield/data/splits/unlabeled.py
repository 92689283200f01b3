"""Images of an unseen part that are given without their labels, to adapt to."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from afield.data.images import ImageSet
from afield.data.splits.groups import Indices, whole_groups
from afield.errors import InputError
from afield.records import seed_for


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


def unlabeled_images(data: ImageSet, test: Indices, name: str, unlabeled: Unlabeled, seed: int) -> Indices:
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
        found := [*whole_groups(order, data.groups, np.zeros_like(data.labels), count, Counter({0: len(test)}))]
    ):
        if (count := 2 * count) > 2 * len(test):
            raise InputError(f"{name} is a single group; --adapt-fraction needs at least 2, to adapt to and to test on")
    return np.sort(np.array(found, dtype=np.int64))
