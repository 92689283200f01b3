"""The summary of records: a table with intervals, and a recommendation. Does not import torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from afield.evaluation import SELECTIONS, estimate, paired_difference
from afield.records import Record, Selection, Summary, SummaryRow

BASELINE = "erm"


def select(records: Sequence[Record], rule: str) -> list[Record]:
    """The records with one held-out part, each with the selected epoch and its test metrics."""
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
    """Summarize selected records: n, mean, standard deviation and interval over seeds, by recipe and unseen domain.

    Values are fractions. ``average`` is the mean over domains, over seeds. ``vs_erm`` is the difference between the
    averages of a recipe and of the baseline, paired by seed. ``search_s`` is the mean duration of learning the
    augmentation of a recipe in seconds, if it was learned. ``recommended`` is the recipe with the best average, if it
    is significantly better than the baseline (see `recommend`).
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
    """The versions of packages and the commits that differ between records, by name."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in {**record.versions, "commit": record.commit}.items():
            found.setdefault(name, set()).add(version or "none")
    return {name: tuple(sorted(versions)) for name, versions in found.items() if len(versions) > 1}


def recommend(averages: Mapping[str, Sequence[float]], baseline: str = BASELINE) -> tuple[str | None, str]:
    """The best recipe, if it is significantly better than the baseline, or None; and the reason, a sentence.

    A recipe is significantly better if the paired interval of the difference excludes zero. The level of the interval
    is 1 - 0.05 / (recipes - 1), to correct for the number of comparisons (Bonferroni). If the baseline is the best
    recipe or was not run, the second best recipe replaces it.
    """
    ranked = sorted(averages, key=lambda recipe: -estimate(averages[recipe]).mean)
    best = ranked[0]
    if len(ranked) == 1:
        return None, f"only {best} was run; a recommendation needs at least two recipes"
    rival = baseline if baseline in averages and best != baseline else ranked[1]
    level = 1 - 0.05 / (len(ranked) - 1)
    difference = paired_difference(averages[best], averages[rival], level=level)
    if difference.ci95 is None:
        return None, "there is no interval with one seed, so no difference can be tested; use --seeds 3 or more"
    low, high = difference.ci95
    span = f"{100 * difference.mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    if low > 0:
        span += f" ({100 * level:.1f} % interval, paired over seeds)"
        return best, f"{best} is significantly better than {rival}: {span}"
    return None, f"no significant difference between {best} and {rival}: {span}; more --seeds narrow the interval"


def _search_seconds(selected: Sequence[Record], recipe: str) -> float | None:
    """The mean duration of learning the augmentation of a recipe in seconds; None if it was not learned."""
    seconds = [record.learned.search_s for record in selected if record.recipe == recipe and record.learned]
    return sum(seconds) / len(seconds) if seconds else None
