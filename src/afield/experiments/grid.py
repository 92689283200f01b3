"""Which runs a comparison needs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from afield.data import parts_of
from afield.errors import InputError
from afield.experiments.recipes import Recipe
from afield.experiments.run import Run
from afield.experiments.setup import Setup


def comparison(setup: Setup, recipes: Sequence[Recipe], seeds: int, selection: str) -> list[Run]:
    """Every recipe with every seed, leaving out each part once; seed by seed, so that early results are balanced.

    ``leave_one_out_validation`` needs the runs that leave out two parts as well.

    Raises:
        InputError: too few domains for the selection rule.
    """
    parts = parts_of(setup.data)
    held_out: list[tuple[str, ...]] = [(part,) for part in parts]
    if selection == "leave_one_out_validation":
        if len(parts) < 3:
            raise InputError(f"--selection {selection} needs at least three domains; there are {len(parts)}")
        held_out += combinations(parts, 2)
    return [Run(setup, recipe, names, seed) for seed in range(seeds) for names in held_out for recipe in recipes]
