"""The settings of a search for a policy. Free of torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from afield.validation import check_number

RANGES = {"folds": (2, 100), "seed": (0, 2**62)}
"""Other settings lie between 1 and 100,000."""


@dataclass(frozen=True)
class Search:
    """How a policy is searched for; the defaults are the paper's.

    Attributes:
        folds: Number of folds; a classifier is trained for each, and its fold judges candidate policies.
        searches: Number of searches per fold.
        trials: Number of candidates per search.
        sub_policies: Number of sub-policies per candidate, of two operations each.
        top: Number of best candidates of each search that the policy keeps.
        draws: Number of augmentations of each image by a candidate; the smallest loss counts.
        seed: Seed of folds, classifiers, candidates and augmentation.
    """

    folds: int = 5
    searches: int = 2
    trials: int = 200
    sub_policies: int = 5
    top: int = 10
    draws: int = 5
    seed: int = 0

    def settings(self) -> Search:
        """These settings alone, checked.

        Raises:
            InputError: one is out of its range.
        """
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(Search)}
        for name, value in found.items():
            check_number(f"--{name.replace('_', '-')}", value, *RANGES.get(name, (1, 100_000)))
        return Search(**found)
