"""The runs of a comparison, and equal shares of them."""

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
    """Every recipe with every seed, leaving out each part once.

    Attributes:
        setup: what all runs share.
        recipes: what is compared.
        seeds: the number of seeds.
        selection: the rule by which an epoch is chosen; ``leave_one_out_validation`` needs the runs that leave out
            two parts as well.
        held_out: the parts to leave out of a run, for each run of a recipe and seed; every part once unless given.
    """

    setup: ExperimentConfig
    recipes: Sequence[Recipe]
    seeds: int
    selection: str = "train_validation"
    held_out: Sequence[tuple[str, ...]] = ()

    def runs(self) -> list[Run]:
        """What is to be trained; seed by seed, so that early results are balanced.

        Raises:
            InputError: too few domains for the selection rule.
        """
        parts = parts_of(self.setup.data)
        held_out = [*(self.held_out or ((part,) for part in parts))]
        if self.selection == "leave_one_out_validation":
            if len(parts) < 3:
                raise InputError(f"--selection {self.selection} needs at least three domains; there are {len(parts)}")
            held_out += combinations(parts, 2)
        seeds = range(self.seeds)
        return [Run(self.setup, recipe, out, seed) for seed in seeds for out in held_out for recipe in self.recipes]


@dataclass(frozen=True)
class Share:
    """One of `count` equal shares of a list; `number` counts from 1."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """From ``3/8``, the third of eight.

        Raises:
            InputError: anything else, or a number that does not lie between 1 and the count.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(f"--share takes NUMBER/COUNT with 1 <= NUMBER <= COUNT, as 3/8; got {text!r}")
        return cls(int(match[1]), int(match[2]))

    def of(self, runs: Sequence[Run]) -> list[Run]:
        """Every `count`-th run from the `number`-th on: all shares together are all runs, each once."""
        return list(runs[self.number - 1 :: self.count])
