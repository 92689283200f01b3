"""Estimates over seeds from records. Unfinished parts of a study are omitted. Does not import torch."""

from collections.abc import Mapping, Sequence

from afield.evaluation import Estimate, estimate, paired_difference
from afield.records import Record

BySeed = dict[int, float]


def of(lines: Sequence[Record], study: str, recipe: str | None = None) -> list[Record]:
    """The records of a study, or of one recipe in it."""
    return [line for line in lines if line.study == study and recipe in (None, line.recipe)]


def studies(lines: Sequence[Record]) -> list[str]:
    """The studies of these records, in order."""
    return list(dict.fromkeys(line.study for line in lines if line.study is not None))


def names(lines: Sequence[Record]) -> list[str]:
    """The recipes of these records, in order."""
    return list(dict.fromkeys(line.recipe for line in lines))


def parts(lines: Sequence[Record]) -> list[str]:
    """The unseen parts of these records, in order."""
    return list(dict.fromkeys(part for line in lines for part in (line.test or {})))


def values(lines: Sequence[Record], metric: str, part: str | None = None) -> BySeed:
    """A metric of a recipe by seed: on one part, or the mean over all parts.

    A seed is omitted if a part is missing or has no such metric (a diverged run has no calibration error).
    """
    found: dict[int, dict[str, float]] = {}
    for line in lines:
        for name, test in (line.test or {}).items():
            if metric in test:
                found.setdefault(line.seed, {})[name] = test[metric]
    wanted = parts(lines) if part is None else [part]
    return {
        seed: sum(of_seed[name] for name in wanted) / len(wanted)
        for seed, of_seed in sorted(found.items())
        if all(name in of_seed for name in wanted)
    }


def of_recipe(
    lines: Sequence[Record], study: str, recipe: str, part: str | None = None, metric: str = "accuracy"
) -> BySeed:
    """A metric of a recipe in a study by seed, on one part or over all parts; empty if a part is missing."""
    found, wanted = of(lines, study, recipe), parts(of(lines, study))
    return values(found, metric, part) if part or set(parts(found)) == set(wanted) else {}


def over(by_seed: BySeed, *, highest: float = 1.0) -> Estimate | None:
    """The mean over seeds with its interval, from 0 to `highest`; None without seeds."""
    return estimate(list(by_seed.values()), within=(0.0, highest)) if by_seed else None


def paired(first: BySeed, second: BySeed, *, level: float = 0.95) -> Estimate | None:
    """The paired difference ``first - second`` over common seeds; None without common seeds."""
    common = sorted(first.keys() & second.keys())
    pairs = [first[seed] for seed in common], [second[seed] for seed in common]
    return paired_difference(*pairs, level=level) if common else None


def curve(found: Mapping[float, BySeed]) -> dict[float, Estimate]:
    """The mean over seeds with its interval, from 0 to 1, at each position. Positions without seeds are omitted."""
    return {position: mean for position, by_seed in found.items() if (mean := over(by_seed)) is not None}
