"""The summary of records: a table with intervals, and a recommendation. Does not import torch."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from afield.evaluation import SELECTIONS, difference_at_new_place, estimate, paired_difference
from afield.records import Estimate, Record, Selection, Summary, SummaryRow

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

    Values are fractions. ``average`` is the mean over domains, over seeds. The differences to the baseline have a level
    of 1 - 0.05 / (recipes - 1), to correct for the number of comparisons (Bonferroni). ``vs_erm`` is that of the
    averages on these domains, paired by seed, and ``at_new_place`` that over domains, as a sample of all places.
    ``search_s`` is the mean duration of learning the augmentation of a recipe in seconds, if it was learned.
    ``recommended`` is the recipe with the best average, if it is better at a new place (see `recommend`).
    """
    recipes = list(dict.fromkeys(record.recipe for record in selected))
    domains = list(dict.fromkeys(record.unseen for record in selected))
    seeds = sorted({record.seed for record in selected})
    value = {(r.recipe, r.unseen, r.seed): r.test[r.unseen][metric] for r in selected if r.test}
    by_domain = {recipe: [[value[recipe, domain, seed] for seed in seeds] for domain in domains] for recipe in recipes}
    averages = {recipe: _averages(found) for recipe, found in by_domain.items()}
    level, known = _level(len(recipes)), BASELINE in by_domain
    table = {
        recipe: SummaryRow(
            domains={domain: estimate(values) for domain, values in zip(domains, by_domain[recipe], strict=True)},
            average=estimate(averages[recipe]),
            vs_erm=paired_difference(averages[recipe], averages[BASELINE], level=level) if known else None,
            at_new_place=(
                difference_at_new_place(by_domain[recipe], by_domain[BASELINE], level=level) if known else None
            ),
            search_s=_search_seconds(selected, recipe),
        )
        for recipe in recipes
    }
    recommended, reason = recommend(by_domain)
    mixed = mixed_versions(selected)
    return Summary(data, rule, metric, tuple(seeds), table, recommended, reason, protocol, mixed=mixed)


def mixed_versions(records: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """The versions of packages and the commits that differ between records, by name."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in {**record.versions, "commit": record.commit}.items():
            found.setdefault(name, set()).add(version or "none")
    return {name: tuple(sorted(versions)) for name, versions in found.items() if len(versions) > 1}


def recommend(values: Mapping[str, Sequence[Sequence[float]]]) -> tuple[str | None, str]:
    """The best recipe, if it is better than the baseline at a new place, or None; and the reason, a sentence.

    A recipe is better at a new place if the interval of the difference over domains excludes zero, with a level of
    1 - 0.05 / (recipes - 1), to correct for the number of comparisons (Bonferroni). With a single domain, the interval
    over seeds takes its place. The baseline is `erm`. If `erm` is the best recipe or was not run, the second best
    recipe replaces it.

    Args:
        values: values of each recipe, ``[E][S]``, for each domain and seed.
    """
    averages = {recipe: _averages(found) for recipe, found in values.items()}
    best, *others = sorted(averages, key=lambda recipe: -estimate(averages[recipe]).mean)
    if not others:
        return None, f"only {best} was run; a recommendation needs at least two recipes"
    rival = BASELINE if BASELINE in averages and best != BASELINE else others[0]
    level, domains = _level(len(values)), len(values[best])
    here = paired_difference(averages[best], averages[rival], level=level)
    place = difference_at_new_place(values[best], values[rival], level=level)
    certain = "95 % interval" if len(values) == 2 else f"95 % interval, adjusted for {len(values) - 1} comparisons"
    if domains == 1:
        if here.ci95 is None:
            return None, "there is no interval with one seed, so no difference can be tested; use --seeds 3 or more"
        if here.ci95[0] > 0:
            return best, f"{best} is better than {rival} on these images: {_points(here)} ({certain} over seeds)"
        return None, (
            f"no significant difference between {best} and {rival}: {_points(here)} ({certain} over seeds); "
            "more --seeds make the interval narrower"
        )
    count = f"on {place.better_on} of {domains} domains"
    if place.ci95 is None:
        return None, (
            f"{best} has the best average and is better than {rival} {count}; "
            "an interval for a new place needs at least 3 domains"
        )
    if place.ci95[0] > 0:
        return best, f"{best} is better than {rival} at a new place: {_points(place)} ({certain}); it is better {count}"
    help = "more --seeds" if (place.seed_share or 0) > 0.5 else "more domains, rather than more --seeds,"
    return None, (
        f"{best} has the best average and is better than {rival} {count}, but not reliably at a new place: "
        f"{_points(place)} ({certain}); {help} make the interval narrower"
    )


def _averages(values: Sequence[Sequence[float]]) -> list[float]:
    """Values ``[E][S]`` -> their mean over domains, ``[S]``."""
    return [sum(found) / len(found) for found in zip(*values, strict=True)]


def _level(recipes: int) -> float:
    """The level of each of the differences to the baseline, so that all hold together with 95 %."""
    return 1 - 0.05 / max(1, recipes - 1)


def _points(difference: Estimate) -> str:
    assert difference.ci95 is not None
    low, high = difference.ci95
    return f"{100 * difference.mean:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"


def _search_seconds(selected: Sequence[Record], recipe: str) -> float | None:
    """The mean duration of learning the augmentation of a recipe in seconds; None if it was not learned."""
    seconds = [record.learned.search_s for record in selected if record.recipe == recipe and record.learned]
    return sum(seconds) / len(seconds) if seconds else None
