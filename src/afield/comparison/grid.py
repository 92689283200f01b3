"""The runs of a comparison, and their division into job shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from afield.data import parts_of
from afield.errors import InputError
from afield.recipes import Recipe
from afield.runs.config import ExperimentConfig
from afield.runs.run import Run


@dataclass(frozen=True)
class Comparison:
    """A comparison of recipes: every recipe is trained with every seed and every held-out part.

    Attributes:
        setup: configuration of all runs.
        recipes: recipes to compare.
        seeds: number of seeds.
        selection: name of the selection rule. ``leave_one_out_validation`` also needs runs with two held-out parts.
        metric: name of the metric for the selection, the table and the recommendation. The runs do not depend on it.
        held_out: held-out parts of each run of a recipe and seed. By default, each part is held out in one run.
    """

    setup: ExperimentConfig
    recipes: Sequence[Recipe]
    seeds: int
    selection: str = "train_validation"
    held_out: Sequence[tuple[str, ...]] = ()
    metric: str = "accuracy"

    def runs(self) -> list[Run]:
        """All runs, ordered by seed, so that intermediate results are balanced.

        Raises:
            InputError: if there are too few domains for the selection rule.
        """
        parts = parts_of(self.setup.data)
        held_out = [*(self.held_out or ((part,) for part in parts))]
        if self.selection == "leave_one_out_validation":
            if len(parts) < 3:
                raise InputError(f"--selection {self.selection} needs at least three domains, got {len(parts)}")
            held_out += combinations(parts, 2)
        seeds = range(self.seeds)
        return [Run(self.setup, recipe, out, seed) for seed in seeds for out in held_out for recipe in self.recipes]


@dataclass(frozen=True)
class Share:
    """One of `count` equal job shares; `number` counts from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """Parse a text such as ``3/8``, the third of eight shares.

        Raises:
            InputError: if the text has another form or the number is not between 1 and the count.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"--share must be NUMBER/COUNT with 1 <= NUMBER <= COUNT, such as 3/8, got {text!r}")
        return cls(int(match[1]), int(match[2]))

    def of(self, runs: Sequence[Run]) -> list[Run]:
        """Every `count`-th run, starting with the `number`-th. Each run is in exactly one share."""
        return list(runs[self.number - 1 :: self.count])
