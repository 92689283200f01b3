"""The settings of a policy search. Does not import torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from afield.validation import check_number

RANGES = {"folds": (2, 100), "seed": (0, 2**62)}
"""Ranges of settings. The range of the others is 1 to 100,000."""


@dataclass(frozen=True)
class Search:
    """Settings of a policy search. The defaults are those of the paper.

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
        """Check the settings, and return them without the fields of subclasses.

        Raises:
            InputError: if a setting is out of range.
        """
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(Search)}
        for name, value in found.items():
            check_number(f"--{name.replace('_', '-')}", value, *RANGES.get(name, (1, 100_000)))
        return Search(**found)
