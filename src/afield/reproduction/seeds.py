"""Estimates over seeds from records. Unfinished parts of a study are omitted. Does not import torch."""

from collections.abc import Mapping, Sequence

from afield.evaluation import Estimate, difference_at_new_place, estimate, paired_difference
from afield.records import PlaceDifference, Record

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


def chance(lines: Sequence[Record], study: str) -> float:
    """The accuracy and the mAP of random guesses in a study, 1 / K; 0 without records."""
    found = of(lines, study)
    return 1 / found[0].details["class_count"] if found else 0.0


def over(by_seed: BySeed, *, highest: float = 1.0) -> Estimate | None:
    """The mean over seeds with its interval, from 0 to `highest`; None without seeds."""
    return estimate(list(by_seed.values()), within=(0.0, highest)) if by_seed else None


def paired(first: BySeed, second: BySeed, *, level: float = 0.95) -> Estimate | None:
    """The paired difference ``first - second`` over common seeds; None without common seeds."""
    common = sorted(first.keys() & second.keys())
    pairs = [first[seed] for seed in common], [second[seed] for seed in common]
    return paired_difference(*pairs, level=level) if common else None


def at_new_place(
    lines: Sequence[Record], study: str, first: str, second: str, *, level: float = 0.95
) -> PlaceDifference | None:
    """The difference of accuracy between two recipes of a study at a new place, over common seeds.

    None for fewer than two unseen parts, or if a recipe is not finished on one of them.
    """
    unseen = parts(of(lines, study))
    pairs = [[of_recipe(lines, study, recipe, part) for recipe in (first, second)] for part in unseen]
    common = sorted(set.intersection(*(set(by_seed) for pair in pairs for by_seed in pair))) if pairs else []
    if len(unseen) < 2 or not common:
        return None
    ours, theirs = ([[pair[i][seed] for seed in common] for pair in pairs] for i in range(2))
    return difference_at_new_place(ours, theirs, level=level, highest=1.0)


def curve(found: Mapping[float, BySeed]) -> dict[float, Estimate]:
    """The mean over seeds with its interval, from 0 to 1, at each position. Positions without seeds are omitted."""
    return {position: mean for position, by_seed in found.items() if (mean := over(by_seed)) is not None}
