"""From records to a table with intervals and a recommendation. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from afield.evaluation import SELECTIONS, estimate, paired_difference
from afield.records import Record, Selection, Summary, SummaryRow

BASELINE = "erm"


def select(records: Sequence[Record], rule: str) -> list[Record]:
    """The runs that leave out one part, each with its ``selection`` and with ``test`` of that epoch."""
    pairs = [record for record in records if len(record.held_out) == 2]
    selected = []
    for record in (record for record in records if len(record.held_out) == 1):
        siblings = [other for other in pairs if (other.recipe, other.seed) == (record.recipe, record.seed)]
        index = SELECTIONS[rule](record, siblings)
        selected.append(replace(record, selection=Selection(rule, index + 1), test=record.epochs[index].test))
    return selected


def summarize(
    selected: Sequence[Record], data: str, rule: str, metric: str = "accuracy", protocol: str | None = None
) -> Summary:
    """The summary of selected records: per recipe and unseen domain n, mean, deviation and interval over seeds.

    Values are fractions. ``average`` is over the seeds' means over domains; ``vs_erm`` pairs the averages of
    equal seeds. ``search_s``, where a recipe's augmentation was learned, is the mean over runs of the seconds that
    this took. ``recommended`` is the recipe of best average if it is significantly better than the baseline
    (`recommend`).
    """
    recipes = list(dict.fromkeys(record.recipe for record in selected))
    domains = list(dict.fromkeys(record.unseen for record in selected))
    seeds = sorted({record.seed for record in selected})
    value = {(r.recipe, r.unseen, r.seed): r.test[r.unseen][metric] for r in selected if r.test}
    averages = {
        recipe: [sum(value[recipe, domain, seed] for domain in domains) / len(domains) for seed in seeds]
        for recipe in recipes
    }
    table = {
        recipe: SummaryRow(
            domains={domain: estimate([value[recipe, domain, seed] for seed in seeds]) for domain in domains},
            average=estimate(averages[recipe]),
            vs_erm=paired_difference(averages[recipe], averages[BASELINE]) if BASELINE in averages else None,
            search_s=_search_seconds(selected, recipe),
        )
        for recipe in recipes
    }
    recommended, reason = recommend(averages)
    mixed = mixed_versions(selected)
    return Summary(data, rule, metric, tuple(seeds), table, recommended, reason, protocol, mixed=mixed)


def mixed_versions(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """The versions of each package, and the commits, that differ between the records."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in {**record.versions, "commit": record.commit}.items():
            found.setdefault(name, set()).add(version or "none")
    return {name: tuple(sorted(versions)) for name, versions in found.items() if len(versions) > 1}


def recommend(averages: dict[str, list[float]]) -> tuple[str | None, str]:
    """The recipe of best mean if it is significantly better than the baseline, else None; and the reason in a sentence.

    Significantly better: the paired interval of the difference excludes zero, at a level of 1 - 0.05 / (recipes - 1),
    so that no recipe looks better by chance because many were tried. The baseline is `erm`; if `erm` is the best
    recipe or was not run, it is the second best.
    """
    ranked = sorted(averages, key=lambda recipe: -estimate(averages[recipe]).mean)
    best = ranked[0]
    if len(ranked) == 1:
        return None, f"only {best} was run; a recommendation needs at least two recipes"
    rival = BASELINE if BASELINE in averages and best != BASELINE else ranked[1]
    level = 1 - 0.05 / (len(ranked) - 1)
    difference = paired_difference(averages[best], averages[rival], level=level)
    if difference.ci95 is None:
        return None, "one seed gives no interval, so that no difference can be tested; use --seeds 3 or more"
    low, high = difference.ci95
    span = f"{100 * difference.mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    if low > 0:
        span += f" ({100 * level:.1f} % interval, paired over seeds)"
        return best, f"{best} is significantly better than {rival}: {span}"
    return None, f"no significant difference between {best} and {rival}: {span}; more --seeds narrow the interval"


def _search_seconds(selected: Sequence[Record], recipe: str) -> float | None:
    """Mean seconds in which a recipe's augmentation was learned; None if it was not."""
    seconds = [record.learned.search_s for record in selected if record.recipe == recipe and record.learned]
    return sum(seconds) / len(seconds) if seconds else None
