"""The summary of records: a table with intervals, and a recommendation. Does not import torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from afield.evaluation import METRICS, SELECTIONS, difference_at_new_place, estimate, figure, paired_difference
from afield.records import BASELINE, Estimate, PlaceDifference, Record, Selection, Summary, SummaryRow

Values = Sequence[Sequence[float]]
"""Values of a metric, ``[E][S]``, for each domain and seed."""


def select(records: Sequence[Record], rule: str, metric: str = "accuracy") -> list[Record]:
    """The records with one held-out part, each with the selected epoch and its test metrics."""
    pairs: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        if len(record.held_out) == 2:
            pairs.setdefault((record.recipe, record.seed), []).append(record)
    selected = []
    for record in (record for record in records if len(record.held_out) == 1):
        index = SELECTIONS[rule](record, pairs.get((record.recipe, record.seed), []), metric)
        selected.append(replace(record, selection=Selection(rule, index + 1, metric), test=record.epochs[index].test))
    return selected


def summarize(
    selected: Sequence[Record],
    data: str,
    rule: str,
    metric: str = "accuracy",
    protocol: str | None = None,
    baseline: str = BASELINE,
) -> Summary:
    """Summarize selected records: n, mean, standard deviation and interval over seeds, by recipe and unseen domain.

    ``average`` is the mean over domains (for `worst_domain` the minimum), over seeds. The differences to the baseline
    have a level of 1 - 0.05 / (recipes - 1), to correct for the number of comparisons (Bonferroni): ``vs_erm`` is that
    of the averages on these domains, paired by seed; ``at_new_place`` is that over the domains, as a sample of all
    places. ``search_s`` is the mean duration of learning the augmentation of a recipe in seconds, if it was learned.
    ``recommended`` is the recipe with the best average, if it is better at a new place (see `recommend`).

    Raises:
        InputError: if a record does not contain the metric.
    """
    recipes = list(dict.fromkeys(record.recipe for record in selected))
    domains = list(dict.fromkeys(record.unseen for record in selected))
    seeds = sorted({record.seed for record in selected})
    figures = {(r.recipe, r.unseen, r.seed): r.test[r.unseen] for r in selected if r.test}
    known = [name for name in METRICS.names if all(name in found for found in figures.values())]
    level, measured = _level(len(recipes)), METRICS[metric]

    def by_domain(recipe: str, metric: str) -> Values:
        return [[figure(figures[recipe, domain, seed], metric) for seed in seeds] for domain in domains]

    def row(recipe: str) -> SummaryRow:
        within = (0.0, measured.highest)
        versus = place = None
        if baseline in values:
            versus = paired_difference(averages[recipe], averages[baseline], level=level, highest=measured.highest)
            place = _at_new_place(values[recipe], values[baseline], level, metric)
        every = {name: over_domains(by_domain(recipe, name), name) for name in known}
        return SummaryRow(
            domains={name: estimate(found, within=within) for name, found in zip(domains, values[recipe], strict=True)},
            average=estimate(averages[recipe], within=within),
            vs_erm=versus,
            at_new_place=place,
            search_s=_search_seconds(selected, recipe),
            metrics={name: estimate(found, within=(0, METRICS[name].highest)) for name, found in every.items()},
        )

    values = {recipe: by_domain(recipe, metric) for recipe in recipes}
    averages = {recipe: over_domains(found, metric) for recipe, found in values.items()}
    recommended, reason = recommend(values, metric, baseline)
    table, mixed = {recipe: row(recipe) for recipe in recipes}, mixed_versions(selected)
    return Summary(
        data, rule, metric, tuple(seeds), table, recommended, reason, protocol, mixed=mixed, baseline=baseline
    )


def mixed_versions(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """The versions of packages and the commits that differ between records, by name."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in {**record.versions, "commit": record.commit}.items():
            found.setdefault(name, set()).add(version or "none")
    return {name: tuple(sorted(versions)) for name, versions in found.items() if len(versions) > 1}


def recommend(
    values: Mapping[str, Values], metric: str = "accuracy", baseline: str = BASELINE
) -> tuple[str | None, str]:
    """The best recipe, if it is better than the baseline at a new place, or None; and the reason, a sentence.

    A recipe is better at a new place if two intervals of the difference exclude zero: that over domains, as a sample of
    all places, and that over seeds, because a seed can have the same effect in all domains. Their level is
    1 - 0.05 / (recipes - 1), to correct for the number of comparisons (Bonferroni). With a single domain, and for
    `worst_domain`, the interval over seeds decides alone. If the baseline is the best recipe or was not run, the second
    best recipe replaces it.

    Args:
        values: values of each recipe, ``[E][S]``, for each domain and seed.
        metric: name of the metric of the values.
        baseline: name of the recipe to compare with.
    """
    measured = METRICS[metric]
    averages = {recipe: over_domains(found, metric) for recipe, found in values.items()}
    best, *others = sorted(averages, key=lambda recipe: -measured.sign * estimate(averages[recipe]).mean)
    if not others:
        return None, f"only {best} was run; a recommendation needs at least two recipes"
    rival = baseline if baseline in averages and best != baseline else others[0]
    level = _level(len(values))
    place = _at_new_place(values[best], values[rival], level, metric)
    here = paired_difference(averages[best], averages[rival], level=level, highest=measured.highest)
    certain = "95 % interval" if len(values) == 2 else f"95 % interval, adjusted for {len(values) - 1} comparisons"
    if here.ci95 is None:
        few = "one seed" if here.n == 1 else "two seeds"
        return None, f"there is no interval with {few}, so no difference can be tested; use --seeds 3 or more"
    over_seeds = f"{_span(here, metric)} ({certain}, paired over seeds)"
    if not here.excludes_zero:
        return None, (
            f"no significant difference between {best} and {rival}: {over_seeds}; more --seeds narrow the interval"
        )
    if place is None:
        return best, f"{best} is significantly better than {rival} on these images: {over_seeds}"
    count = f"on {place.better_on} of {place.n} domains"
    if place.ci95 is None:
        return None, (
            f"{best} is significantly better than {rival} on these domains: {over_seeds}; "
            "an interval for a new place needs at least 3 domains"
        )
    over_places = f"{_span(place, metric)} ({certain}, over domains)"
    if place.excludes_zero:
        return best, f"{best} is better than {rival} at a new place: {over_places}; it is better {count}"
    return None, (
        f"{best} is better than {rival} {count}, but this is not certain at a new place: {over_places}; "
        f"{_what_helps(place)} narrow the interval"
    )


def _what_helps(place: PlaceDifference) -> str:
    """What makes the interval at a new place narrower."""
    return "more --seeds" if (place.seed_share or 0.0) > 0.5 else "more domains, rather than more --seeds,"


def over_domains(values: Values, metric: str) -> list[float]:
    """Values ``[E][S]`` -> those over all domains together, ``[S]``: the mean, or the worst for `worst_domain`."""
    return [METRICS[metric].over_domains(list(found)) for found in zip(*values, strict=True)]


def _at_new_place(first: Values, second: Values, level: float, metric: str) -> PlaceDifference | None:
    """The difference at a new place; None with a single domain, or if the metric combines the domains."""
    measured = METRICS[metric]
    if len(first) == 1 or measured.by_domain:
        return None
    return difference_at_new_place(first, second, level=level, highest=measured.highest, sign=measured.sign)


def _level(recipes: int) -> float:
    """The level of each of the differences to the baseline, so that all hold together with 95 %."""
    return 1 - 0.05 / max(1, recipes - 1)


def _span(difference: Estimate, metric: str) -> str:
    """A difference and its interval as text, with the unit."""
    assert difference.ci95 is not None
    measured = METRICS[metric]
    unit = (" points" if measured.percent else "") + ("" if metric == "accuracy" else f" of {measured.title}")
    low, high = (measured.text(end, "+") for end in difference.ci95)
    return f"{measured.text(difference.mean, '+')}{unit} [{low}, {high}]"


def _search_seconds(selected: Sequence[Record], recipe: str) -> float | None:
    """The mean duration of learning the augmentation of a recipe in seconds; None if it was not learned."""
    seconds = [record.learned.search_s for record in selected if record.recipe == recipe and record.learned]
    return sum(seconds) / len(seconds) if seconds else None
