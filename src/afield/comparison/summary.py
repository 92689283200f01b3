"""The summary of records: a table with intervals, and a recommendation. Does not import torch."""

from collections.abc import Sequence
from dataclasses import replace

from afield.evaluation import METRICS, SELECTIONS, estimate, figure, paired_difference
from afield.records import Record, Selection, Summary, SummaryRow

BASELINE = "erm"


def select(records: Sequence[Record], rule: str, metric: str = "accuracy") -> list[Record]:
    """The records with one held-out part, each with the selected epoch and its test metrics."""
    pairs = [record for record in records if len(record.held_out) == 2]
    selected = []
    for record in (record for record in records if len(record.held_out) == 1):
        siblings = [other for other in pairs if (other.recipe, other.seed) == (record.recipe, record.seed)]
        index = SELECTIONS[rule](record, siblings, metric)
        selected.append(replace(record, selection=Selection(rule, index + 1, metric), test=record.epochs[index].test))
    return selected


def summarize(
    selected: Sequence[Record], data: str, rule: str, metric: str = "accuracy", protocol: str | None = None
) -> Summary:
    """Summarize selected records: n, mean, standard deviation and interval over seeds, by recipe and unseen domain.

    ``average`` is the mean over domains (for `worst_domain` the minimum), over seeds. ``vs_erm`` is the difference
    between the averages of a recipe and of the baseline, paired by seed. ``search_s`` is the mean duration of learning
    the augmentation of a recipe in seconds, if it was learned. ``recommended`` is the recipe with the best average, if
    it is significantly better than the baseline (see `recommend`).

    Raises:
        InputError: if a record does not contain the metric.
    """
    recipes = list(dict.fromkeys(record.recipe for record in selected))
    domains = list(dict.fromkeys(record.unseen for record in selected))
    seeds = sorted({record.seed for record in selected})
    figures = {(r.recipe, r.unseen, r.seed): r.test[r.unseen] for r in selected if r.test}
    known = [name for name in METRICS.names if all(name in found for found in figures.values())]

    def averages(metric: str) -> dict[str, list[float]]:
        return {
            recipe: [
                METRICS[metric].over_domains([figure(figures[recipe, domain, seed], metric) for domain in domains])
                for seed in seeds
            ]
            for recipe in recipes
        }

    def row(recipe: str) -> SummaryRow:
        highest = METRICS[metric].highest
        values = {domain: [figures[recipe, domain, seed][metric] for seed in seeds] for domain in domains}
        versus = paired_difference(chosen[recipe], chosen[BASELINE], highest=highest) if BASELINE in chosen else None
        return SummaryRow(
            domains={domain: estimate(found, within=(0, highest)) for domain, found in values.items()},
            average=estimate(chosen[recipe], within=(0, highest)),
            vs_erm=versus,
            search_s=_search_seconds(selected, recipe),
            metrics={name: estimate(found[recipe], within=(0, METRICS[name].highest)) for name, found in every.items()},
        )

    chosen, every = averages(metric), {name: averages(name) for name in known}
    recommended, reason = recommend(chosen, metric)
    table, mixed = {recipe: row(recipe) for recipe in recipes}, mixed_versions(selected)
    return Summary(data, rule, metric, tuple(seeds), table, recommended, reason, protocol, mixed=mixed)


def mixed_versions(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """The versions of packages and the commits that differ between records, by name."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in {**record.versions, "commit": record.commit}.items():
            found.setdefault(name, set()).add(version or "none")
    return {name: tuple(sorted(versions)) for name, versions in found.items() if len(versions) > 1}


def recommend(averages: dict[str, list[float]], metric: str = "accuracy") -> tuple[str | None, str]:
    """The best recipe, if it is significantly better than the baseline, or None; and the reason, a sentence.

    A recipe is significantly better if the paired interval of the difference excludes zero. The level of the interval
    is 1 - 0.05 / (recipes - 1), to correct for the number of comparisons (Bonferroni). The baseline is `erm`. If `erm`
    is the best recipe or was not run, the second best recipe replaces it.
    """
    measured = METRICS[metric]
    ranked = sorted(averages, key=lambda recipe: -measured.sign * estimate(averages[recipe]).mean)
    best = ranked[0]
    if len(ranked) == 1:
        return None, f"only {best} was run; a recommendation needs at least two recipes"
    rival = BASELINE if BASELINE in averages and best != BASELINE else ranked[1]
    level = 1 - 0.05 / (len(ranked) - 1)
    difference = paired_difference(averages[best], averages[rival], level=level, highest=measured.highest)
    if difference.ci95 is None:
        few = "one seed" if difference.n == 1 else "two seeds"
        return None, f"there is no interval with {few}, so no difference can be tested; use --seeds 3 or more"
    low, high = difference.ci95
    unit = (" points" if measured.percent else "") + ("" if metric == "accuracy" else f" of {measured.title}")
    span = f"{measured.text(difference.mean, '+')}{unit} [{measured.text(low, '+')}, {measured.text(high, '+')}]"
    if min(measured.sign * low, measured.sign * high) > 0:
        span += f" ({100 * level:.1f} % interval, paired over seeds)"
        return best, f"{best} is significantly better than {rival}: {span}"
    return None, f"no significant difference between {best} and {rival}: {span}; more --seeds narrow the interval"


def _search_seconds(selected: Sequence[Record], recipe: str) -> float | None:
    """The mean duration of learning the augmentation of a recipe in seconds; None if it was not learned."""
    seconds = [record.learned.search_s for record in selected if record.recipe == recipe and record.learned]
    return sum(seconds) / len(seconds) if seconds else None
