"""Runs of several folders together, by data set and settings. Does not import torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from afield.comparison.summary import select, summarize
from afield.errors import InputError
from afield.records import Record, Summary, canonical_json, read_compared

OWN = ("recipe", "held_out", "seed", "metric")
"""The settings in which runs of a comparison differ."""


@dataclass(frozen=True)
class Joined:
    """The runs of all folders with the same data and settings: every recipe with the same domains and seeds.

    Attributes:
        name: name of the data set; with the names of the folders if its runs have several settings.
        records: records of the runs.
        left_out: number of runs that were left out, because other recipes have no run with their domain or seed.
    """

    name: str
    records: Sequence[Record]
    left_out: int

    def summary(self, rule: str, metric: str, baseline: str) -> Summary:
        """The summary by a selection rule.

        Raises:
            InputError: if runs that the rule needs are missing.
        """
        try:
            selected = select(self.records, rule, metric)
        except ValueError as error:
            raise InputError(f"{self.name}: {error}") from None
        return summarize(selected, self.name, rule, metric, baseline=baseline)


def join(folders: Sequence[Path]) -> list[Joined]:
    """Join the runs of the comparisons in these folders. Equal runs count once.

    Raises:
        InputError: if a folder has no records, a recipe of one name has different settings in two folders, or recipes
            have no domain and seed in common.
    """
    groups: dict[str, dict[str, Record]] = {}
    sources: dict[str, dict[str, None]] = {}
    for folder in folders:
        for record in read_compared(folder):
            key = canonical_json({name: value for name, value in record.config.items() if name not in OWN})
            groups.setdefault(key, {})[record.run] = record
            sources.setdefault(key, {})[folder.name] = None
    names = [next(iter(runs.values())).config["data"]["name"] for runs in groups.values()]
    return [
        _complete(name if names.count(name) == 1 else f"{name} ({', '.join(sources[key])})", list(runs.values()))
        for name, (key, runs) in zip(names, groups.items(), strict=True)
    ]


def _complete(name: str, records: Sequence[Record]) -> Joined:
    """The runs whose domain and seed all recipes have."""
    configs: dict[str, str] = {}
    for record in records:
        recipe = canonical_json(record.config["recipe"])
        if configs.setdefault(record.recipe, recipe) != recipe:
            raise InputError(f"{name}: the recipe {record.recipe!r} has different settings in the folders")
    cells = {recipe: set[tuple[str, int]]() for recipe in configs}
    for record in records:
        if len(record.held_out) == 1:
            cells[record.recipe].add((record.unseen, record.seed))
    shared = set.intersection(*cells.values())
    domains, seeds = {domain for domain, _ in shared}, {seed for _, seed in shared}
    seeds = {seed for seed in seeds if all((domain, seed) in shared for domain in domains)}
    if not seeds:
        raise InputError(f"{name}: the recipes {', '.join(configs)} have no seed with the same domains in common")
    kept = [r for r in records if r.seed in seeds and (len(r.held_out) != 1 or r.unseen in domains)]
    return Joined(name, kept, len(records) - len(kept))


def shared_recipes(joined: Sequence[Joined]) -> list[str]:
    """The recipes that all data sets have, in the order of the first one; none if two of them have the same images.

    Tests over data sets take them as independent, so one data set with several settings must not count twice.
    """
    if len({each.records[0].config["data"]["fingerprint"] for each in joined}) < len(joined):
        return []
    found = [list(dict.fromkeys(record.recipe for record in each.records)) for each in joined]
    return [recipe for recipe in found[0] if all(recipe in others for others in found[1:])]


def summaries(
    joined: Sequence[Joined], rules: Sequence[str], metric: str, baseline: str
) -> Mapping[str, Mapping[str, Summary]]:
    """The summaries of each data set by rule."""
    return {each.name: {rule: each.summary(rule, metric, baseline) for rule in rules} for each in joined}
