"""The runs of a comparison, and their division into job shares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from afield.data import ImageSet, parts_of
from afield.errors import InputError, unknown_name
from afield.recipes import Recipe
from afield.records import BASELINE
from afield.runs.config import ExperimentConfig
from afield.runs.members import members_of
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
        baseline: name of the recipe that the others are compared with.
        first_seed: the first seed; the others follow it.
        setups: configurations with different backbones, by the name of the backbone. Each recipe is then trained with
            each of them, in rows named ``RECIPE@BACKBONE``. Their images are those of `setup`.
    """

    setup: ExperimentConfig
    recipes: Sequence[Recipe]
    seeds: int
    selection: str = "train_validation"
    held_out: Sequence[tuple[str, ...]] = ()
    metric: str = "accuracy"
    baseline: str = BASELINE
    first_seed: int = 0
    setups: Mapping[str, ExperimentConfig] = field(default_factory=dict)

    def rows(self) -> list[tuple[ExperimentConfig, Recipe]]:
        """The rows of the table: recipes, each with its configuration."""
        if not self.setups:
            return [(self.setup, recipe) for recipe in self.recipes]
        return [
            (setup, replace(recipe, name=f"{recipe.name}@{name}"))
            for name, setup in self.setups.items()
            for recipe in self.recipes
        ]

    def runs(self) -> list[Run]:
        """All runs, ordered by seed, so that intermediate results are balanced.

        Raises:
            InputError: if there are too few domains for the selection rule, or runs can stop early that it compares
                epoch by epoch.
        """
        parts, train = parts_of(self.setup.data), self.setup.train_domains
        held_out = [*(self.held_out or ((part,) for part in parts))]
        if self.selection == "leave_one_out_validation":
            if any(recipe.train_config(self.setup.training).patience for recipe in self.recipes):
                raise InputError(f"--selection {self.selection} needs all epochs of each run, without --patience")
            if len(parts) < 3:
                raise InputError(f"--selection {self.selection} needs at least three domains, got {len(parts)}")
            tested = {part for out in held_out for part in out}
            held_out += [
                pair
                for pair in combinations(parts, 2)
                if any(part in tested and other in (train or parts) for part, other in (pair, pair[::-1]))
            ]
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        rows = self.rows()
        return _keeping([Run(setup, recipe, out, seed) for seed in seeds for out in held_out for setup, recipe in rows])


def _keeping(runs: Sequence[Run]) -> list[Run]:
    """The runs; those whose weights another run averages keep them, so that they are not trained again."""
    averaged = {member.hash for run in runs for member in members_of(run) if member.keep_weights}
    return [replace(run, keep_weights=True) if run.hash in averaged else run for run in runs]


def chosen_parts(data: ImageSet, held_out: Sequence[str], train_domains: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """The part that each run of a recipe and seed holds out, from the names of held-out parts and training domains.

    Without names of held-out parts: the domains that do not train, or all parts if all domains train.

    Raises:
        InputError: if a name is unknown, the data have no domains to train on, or no training domain is left for a run.
    """
    parts = parts_of(data)
    if train_domains and not data.has_domains:
        raise InputError("--train-domains needs data with domains")
    for option, names in (("held-out", held_out), ("train-domains", train_domains)):
        for name in names:
            if name not in parts:
                unknown_name(f"domain in --{option}:", name, parts)
    chosen = held_out or [part for part in parts if part not in train_domains] or parts
    for part in chosen:
        if train_domains and not set(train_domains) - {part}:
            raise InputError(f"--train-domains {part} leaves no training domain when {part} is held out")
    return tuple((part,) for part in dict.fromkeys(chosen))


def held_out_in_turn(setup: ExperimentConfig, held_out: Sequence[tuple[str, ...]]) -> str:
    """What is held out in turn, for the user."""
    data, parts = setup.data, parts_of(setup.data)
    how = "each domain" if data.has_domains else "the given test set" if parts == ("test",) else "each of 5 folds"
    if tuple(part for (part,) in held_out) != parts:
        how = ", ".join(part for (part,) in held_out)
    if setup.train_domains:
        how = f"{how}, with training on {', '.join(setup.train_domains)}"
    return f"held out in turn: {how}"


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
