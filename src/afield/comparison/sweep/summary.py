"""The summary of a sweep: defaults and selected settings on unseen domains, and the gain with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from afield.comparison.summary import over_domains, select
from afield.comparison.sweep import SUMMARY
from afield.comparison.sweep.protocol import Find, Score, State, Sweep, ranked
from afield.evaluation import METRICS, difference_at_new_place, estimate, figure, paired_difference
from afield.recipes import Recipe
from afield.records import Estimate, PlaceDifference, decode, read_json, write_json


@dataclass(frozen=True)
class Searched:
    """A setting of a recipe in a sweep.

    Attributes:
        distribution: what it was drawn from.
        default: its default.
        importance: Spearman's rank correlation between its value and the score of the draw, averaged over the unseen
            domains, in -1 to 1; None for text and with fewer than three different values.
    """

    distribution: str
    default: Any
    importance: float | None


@dataclass(frozen=True)
class Selected:
    """The draw that was selected for an unseen domain.

    Attributes:
        draw: number of the draw; 0 is the defaults.
        settings: its settings by name; empty for the defaults.
        score: value that the rule selected by, of this draw.
        default_score: that of the defaults; None if halving stopped them or they diverged.
        default: metric of the defaults on the unseen domain, over fresh seeds.
        selected: metric of the draw on the unseen domain, over the same seeds.
    """

    draw: int
    settings: Mapping[str, Any]
    score: Score
    default_score: Score
    default: Estimate
    selected: Estimate


@dataclass(frozen=True)
class SweepRow:
    """A recipe in a sweep. Averages are over the unseen domains (the minimum for `worst_domain`), over fresh seeds.

    Attributes:
        space: searched settings by name.
        domains: selected draw of each unseen domain.
        default: average of the defaults.
        selected: average of the selected draws.
        gain: difference of the two on these domains, paired by seed. Level: 1 - 0.05 / number of recipes.
        gain_at_new_place: the same difference over domains, as a sample of all places; None with one domain.
        draw: draw with the best mean score over all domains, to train on all of them.
        settings: settings of this draw by name; empty for the defaults.
    """

    space: Mapping[str, Searched]
    domains: Mapping[str, Selected]
    default: Estimate
    selected: Estimate
    gain: Estimate
    gain_at_new_place: PlaceDifference | None
    draw: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """A draw of a recipe.

    Attributes:
        recipe: name of the recipe.
        draw: number of the draw.
        settings: its settings by name; empty for the defaults.
        scores: for each unseen domain, value of the selection rule at each step of halving that the draw took part in;
            None if a run diverged.
    """

    recipe: str
    draw: int
    settings: Mapping[str, Any]
    scores: Mapping[str, tuple[Score, ...]]


@dataclass(frozen=True)
class SweepSummary:
    """The summary of a sweep, as in ``sweep.json``. Metrics have the unit of `afield.evaluation.METRICS`.

    Attributes:
        data: name of the data set.
        selection: name of the selection rule.
        metric: name of the metric.
        draws: number of draws of each recipe.
        trials: seeds of the draws.
        seeds: fresh seeds of defaults and selected draws.
        halvings: how often the draws were halved.
        recipes: results by recipe.
        tried: all draws.
        provenance: commit, hardware and versions of the runs.
        schema: version of the format.
    """

    data: str
    selection: str
    metric: str
    draws: int
    trials: tuple[int, ...]
    seeds: tuple[int, ...]
    halvings: int
    recipes: Mapping[str, SweepRow]
    tried: tuple[Trial, ...]
    provenance: Mapping[str, str]
    schema: int = 1


def summarize_sweep(sweep: Sweep, state: State, find: Find) -> SweepSummary:
    """Summarize a finished sweep."""
    from afield.reporting.provenance import origin  # imports matplotlib, which the worker processes need not

    return SweepSummary(
        data=Path(sweep.setup.data.name).name,
        selection=sweep.selection,
        metric=sweep.metric,
        draws=sweep.draws,
        trials=tuple(range(sweep.trials)),
        seeds=tuple(sweep.fresh_seeds),
        halvings=sweep.halvings,
        recipes={recipe.name: _row(sweep, state, find, recipe) for recipe in sweep.recipes},
        tried=tuple(
            Trial(recipe.name, number, sweep.settings(recipe, number), _scores(sweep, state, recipe.name, number))
            for recipe in sweep.recipes
            for number in range(sweep.draws)
        ),
        provenance=origin([record for run in state.runs if (record := find(run)) is not None]),
    )


def read_sweep(folder: Path) -> SweepSummary:
    """Read ``sweep.json``. Raises `InputError` if it is missing or damaged."""
    path = folder / SUMMARY
    summary: SweepSummary = decode(SweepSummary, read_json(path), f"{path}:")
    return summary


def write_sweep(folder: Path, summary: SweepSummary) -> None:
    """Write ``sweep.json``, atomically."""
    write_json(folder / SUMMARY, asdict(summary))


def _row(sweep: Sweep, state: State, find: Find, recipe: Recipe) -> SweepRow:
    metric, parts = METRICS[sweep.metric], sweep.parts
    within, level = (0.0, metric.highest), 1 - 0.05 / len(sweep.recipes)
    best = {part: state.best[recipe.name, part] for part in parts}
    default = [_values(sweep, find, recipe, part) for part in parts]
    selected = [_values(sweep, find, sweep.drawn(recipe, best[part]), part) for part in parts]
    averages = [over_domains(values, sweep.metric) for values in (default, selected)]
    place = None
    if len(parts) > 1 and not metric.by_domain:
        place = difference_at_new_place(selected, default, level=level, highest=metric.highest, sign=metric.sign)
    chosen = overall_best(sweep, state, recipe.name)
    last = {part: state.scores[recipe.name, part][-1] for part in parts}
    return SweepRow(
        space={
            name: Searched(str(each.distribution), each.default, _importance(sweep, state, recipe, name))
            for name, each in sweep.spaces[recipe.name].items()
        },
        domains={
            part: Selected(
                draw=best[part],
                settings=sweep.settings(recipe, best[part]),
                score=last[part][best[part]],
                default_score=last[part].get(0),
                default=estimate(before, within=within),
                selected=estimate(after, within=within),
            )
            for part, before, after in zip(parts, default, selected, strict=True)
        },
        default=estimate(averages[0], within=within),
        selected=estimate(averages[1], within=within),
        gain=paired_difference(averages[1], averages[0], level=level, highest=metric.highest),
        gain_at_new_place=place,
        draw=chosen,
        settings=sweep.settings(recipe, chosen),
    )


def overall_best(sweep: Sweep, state: State, name: str) -> int:
    """The draw of a recipe with the best mean score over all unseen domains, among those with a score in each.

    If halving left no such draw, it is the first one.
    """
    by_domain = [state.scores[name, part][-1] for part in sweep.parts]
    means: dict[int, Score] = {}
    for number in range(sweep.draws):
        values = [value for found in by_domain if (value := found.get(number)) is not None]
        means[number] = sum(values) / len(values) if len(values) == len(by_domain) else None
    return ranked(means, sweep.metric)[0]


def _values(sweep: Sweep, find: Find, recipe: Recipe, part: str) -> list[float]:
    """The metric on an unseen domain for each fresh seed. The epoch is selected as in a comparison."""
    rule = sweep.selection if sweep.selection != "leave_one_out_validation" else "train_validation"
    records = [find(run) for run in sweep.runs(recipe, part, sweep.fresh_seeds, selects=False)]
    selected = select([record for record in records if record is not None], rule, sweep.metric)
    return [figure((record.test or {})[part], sweep.metric) for record in selected]


def _scores(sweep: Sweep, state: State, name: str, number: int) -> dict[str, tuple[Score, ...]]:
    return {part: tuple(found[number] for found in state.scores[name, part] if number in found) for part in sweep.parts}


def _importance(sweep: Sweep, state: State, recipe: Recipe, setting: str) -> float | None:
    """See `Searched.importance`. The scores are those of the first step, which has all draws."""
    default, found = sweep.spaces[recipe.name][setting].default, list[float]()
    for part in sweep.parts:
        scores = {number: score for number, score in state.scores[recipe.name, part][0].items() if score is not None}
        values: list[Any] = [sweep.settings(recipe, number).get(setting, default) for number in scores]
        if len(set(values)) < 3 or not all(isinstance(value, int | float) for value in values):
            return None
        found.append(_rank_correlation(values, list(scores.values()), METRICS[sweep.metric].sign))
    return round(float(np.mean(found)), 4)


def _rank_correlation(values: Sequence[float], scores: Sequence[float], sign: int) -> float:
    """Spearman's rank correlation; 0 if all scores are equal."""
    from scipy.stats import spearmanr  # takes half a second

    return 0.0 if len(set(scores)) == 1 else sign * float(spearmanr(values, scores).statistic)
