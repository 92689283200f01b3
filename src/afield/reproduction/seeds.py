"""From lines to estimates over seeds: what a study may not have finished yet is left out. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from afield.evaluation import Estimate, estimate, paired_difference
from afield.records import Record

BySeed = dict[int, float]


def of(lines: Sequence[Record], study: str, recipe: str | None = None) -> list[Record]:
    """The lines of a study, or of one recipe in it."""
    return [line for line in lines if line.study == study and recipe in (None, line.recipe)]


def studies(lines: Sequence[Record]) -> list[str]:
    """The studies of these lines, in order."""
    return list(dict.fromkeys(line.study for line in lines if line.study is not None))


def names(lines: Sequence[Record]) -> list[str]:
    """The recipes of these lines, in order."""
    return list(dict.fromkeys(line.recipe for line in lines))


def parts(lines: Sequence[Record]) -> list[str]:
    """The unseen parts of these lines, in order."""
    return list(dict.fromkeys(part for line in lines for part in (line.test or {})))


def values(lines: Sequence[Record], metric: str, part: str | None = None) -> BySeed:
    """A metric of a recipe by seed: on one part, or the mean over all, for seeds that have them all.

    A run without the metric (calibration of one that diverged) takes its seed out.
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
    """A metric of a recipe in a study: on one part, or over all; nothing while a part of the study is missing."""
    found, wanted = of(lines, study, recipe), parts(of(lines, study))
    return values(found, metric, part) if part or set(parts(found)) == set(wanted) else {}


def over(by_seed: BySeed) -> Estimate | None:
    """Mean and interval; None without a seed."""
    return estimate(list(by_seed.values())) if by_seed else None


def paired(first: BySeed, second: BySeed, *, level: float = 0.95) -> Estimate | None:
    """``first - second`` over the seeds of both; None without one."""
    common = sorted(first.keys() & second.keys())
    pairs = [first[seed] for seed in common], [second[seed] for seed in common]
    return paired_difference(*pairs, level=level) if common else None


def curve(found: Mapping[float, BySeed]) -> dict[float, Estimate]:
    """Mean and interval at each position; positions without a seed are left out."""
    return {position: estimate(list(by_seed.values())) for position, by_seed in found.items() if by_seed}
