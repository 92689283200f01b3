"""The runs of a sweep: those of all draws, of the draws that go on, and of the best draw with fresh seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from afield.comparison.grid import Comparison
from afield.comparison.sweep.space import Space, draw, with_settings
from afield.evaluation import METRICS, selected_value
from afield.recipes import Recipe
from afield.records import Record
from afield.runs.config import ExperimentConfig
from afield.runs.run import Run

Place = tuple[str, str]
"""A recipe and the unseen domain that its settings are selected for."""

Score = float | None
"""The value that the selection rule selects by; None if a run diverged."""

Find = Callable[[Run], Record | None]
"""The record of a run, or None if the run is not finished."""


@dataclass(frozen=True)
class Sweep:
    """Random draws of settings, as in DomainBed, optionally with successive halving.

    For each recipe and unseen domain, every draw is trained with the seeds of the trials. The selection rule selects
    one draw, without the unseen domain (except for the rule ``oracle``). This draw and the defaults are then trained
    with fresh seeds.

    With halving, all draws are first trained for few epochs. The better half goes on with twice as many, in several
    steps, until the full number of epochs. Each training starts anew, because the learning rate schedule depends on the
    number of epochs.

    Attributes:
        setup: configuration of all runs.
        recipes: recipes to search.
        spaces: space of each recipe, by name.
        draws: number of draws of each recipe. The first has the defaults.
        trials: number of seeds of each draw, from 0.
        seeds: number of fresh seeds of the best draw and of the defaults, after those of the trials.
        held_out: unseen domains, each as a tuple of one.
        selection: name of the selection rule.
        metric: name of the metric for the selection and the table.
        halvings: how often the draws are halved.

    References:
        Gulrajani and Lopez-Paz, "In Search of Lost Domain Generalization", ICLR 2021. Successive halving: Jamieson and
        Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016.
    """

    setup: ExperimentConfig
    recipes: Sequence[Recipe]
    spaces: Mapping[str, Space]
    draws: int
    trials: int
    seeds: int
    held_out: Sequence[tuple[str, ...]]
    selection: str = "train_validation"
    metric: str = "accuracy"
    halvings: int = 0

    def settings(self, recipe: Recipe, number: int) -> dict[str, Any]:
        """The settings of a draw."""
        return draw(self.spaces[recipe.name], number)

    def drawn(self, recipe: Recipe, number: int, step: int | None = None) -> Recipe:
        """The recipe of a draw, ``NAME#NUMBER``; that of draw 0 is the recipe itself.

        Before the last step of halving it has fewer epochs, which its name states.
        """
        name = f"{recipe.name}#{number}" if number else recipe.name
        found = with_settings(recipe, self.settings(recipe, number), name)
        before_last = 0 if step is None else self.halvings - step
        if not before_last:
            return found
        epochs = max(1, round(found.train_config(self.setup.training).epochs / 2**before_last))
        return replace(found, name=f"{name}, {epochs} epochs", training={**found.training, "epochs": epochs})

    def runs(self, recipe: Recipe, part: str, seeds: range, *, selects: bool) -> list[Run]:
        """The runs of a recipe that are tested on an unseen domain.

        With `selects`, those that the selection needs. They may diverge, and the draw is then not selected.
        """
        rule = self.selection if selects else "train_validation"
        grid = Comparison(self.setup, [recipe], len(seeds), rule, ((part,),), self.metric, first_seed=seeds.start)
        return [replace(run, may_diverge=selects) for run in grid.runs()]

    @property
    def parts(self) -> list[str]:
        """The unseen domains."""
        return [part for (part,) in self.held_out]

    @property
    def fresh_seeds(self) -> range:
        """The seeds of the best draw and of the defaults."""
        return range(self.trials, self.trials + self.seeds)


@dataclass(frozen=True)
class State:
    """What is known from the runs that are finished.

    Attributes:
        runs: runs that are known, without repetitions, finished or not.
        later: runs that stand for those that depend on the results of the others.
        scores: value of the selection rule of each draw at each step of halving, by recipe and unseen domain: the mean
            over the trials, None if a run diverged.
        best: selected draw, by recipe and unseen domain; empty if it is not known yet.
    """

    runs: Sequence[Run]
    later: Sequence[Run]
    scores: Mapping[Place, Sequence[Mapping[int, Score]]]
    best: Mapping[Place, int]


def advance(sweep: Sweep, find: Find) -> State:
    """The runs and selections that the finished runs allow. The sweep is finished if there are no further runs."""
    places = {(recipe.name, part): recipe for recipe in sweep.recipes for part in sweep.parts}
    defaults = _fresh(sweep, places)
    alive: dict[Place, Sequence[int]] = dict.fromkeys(places, range(sweep.draws))
    scores: dict[Place, list[dict[int, Score]]] = {place: [] for place in places}
    known: list[Run] = []
    for step in range(sweep.halvings + 1):
        tried = _tried(sweep, places, alive, step)
        known += [run for runs in tried.values() for run in runs]
        if any(find(run) is None for run in known):
            later = _later(sweep, places, alive, step)
            return State(_in_order([*known, *defaults]), later, scores, {})
        for place in places:
            scores[place].append(
                {number: _score(sweep, tried[*place, number], place[1], find) for number in alive[place]}
            )
        alive = {place: better_half(found[-1], sweep.metric) for place, found in scores.items()}
    best = {place: ranked(found[-1], sweep.metric)[0] for place, found in scores.items()}
    fresh = _fresh(sweep, {place: sweep.drawn(recipe, best[place]) for place, recipe in places.items()})
    return State(_in_order([*known, *defaults, *fresh]), (), scores, best)


def ranked(scores: Mapping[int, Score], metric: str) -> list[int]:
    """The draws, the best first. Of draws with the same value, the first comes first; diverged ones come last."""

    def key(number: int) -> tuple[float, int]:
        value = scores[number]
        return math.inf if value is None else -METRICS[metric].sign * value, number

    return sorted(scores, key=key)


def better_half(scores: Mapping[int, Score], metric: str) -> list[int]:
    """The better half of the draws, rounded up, in their order."""
    return sorted(ranked(scores, metric)[: math.ceil(len(scores) / 2)])


def _tried(
    sweep: Sweep, places: Mapping[Place, Recipe], alive: Mapping[Place, Sequence[int]], step: int
) -> dict[tuple[str, str, int], list[Run]]:
    """The runs of a step, by recipe, unseen domain and draw."""
    going_on = {(name, number): places[name, part] for (name, part), numbers in alive.items() for number in numbers}
    drawn = {(name, number): sweep.drawn(recipe, number, step) for (name, number), recipe in going_on.items()}
    return {
        (name, part, number): sweep.runs(drawn[name, number], part, range(sweep.trials), selects=True)
        for name, part in places
        for number in alive[name, part]
    }


def _later(sweep: Sweep, places: Mapping[Place, Recipe], alive: Mapping[Place, Sequence[int]], step: int) -> list[Run]:
    """Runs that stand for those of the next steps and for the fresh seeds of the best draws."""
    later: list[Run] = []
    for following in range(step + 1, sweep.halvings + 1):
        alive = {place: range(math.ceil(len(numbers) / 2)) for place, numbers in alive.items()}
        later += [run for runs in _tried(sweep, places, alive, following).values() for run in runs]
    if sweep.draws > 1:
        later += _fresh(sweep, {place: sweep.drawn(recipe, 1) for place, recipe in places.items()})
    return later


def _fresh(sweep: Sweep, chosen: Mapping[Place, Recipe]) -> list[Run]:
    """The runs of one recipe for each place with fresh seeds."""
    return [
        run
        for (_, part), recipe in chosen.items()
        for run in sweep.runs(recipe, part, sweep.fresh_seeds, selects=False)
    ]


def _score(sweep: Sweep, runs: Sequence[Run], part: str, find: Find) -> Score:
    """The mean over the trials of the value that the rule selects by. It looks only at runs without the domain."""
    records = [record for run in runs if (record := find(run)) is not None]
    if not all(record.epochs for record in records):
        return None
    pairs = [record for record in records if len(record.held_out) == 2]
    values = [
        selected_value(sweep.selection, record, [pair for pair in pairs if pair.seed == record.seed], sweep.metric)
        for record in records
        if record.held_out == (part,)
    ]
    return sum(values) / len(values)


def _in_order(runs: Sequence[Run]) -> list[Run]:
    """The runs without repetitions, ordered by seed, so that intermediate results are balanced."""
    return sorted({run.hash: run for run in runs}.values(), key=lambda run: run.seed)
