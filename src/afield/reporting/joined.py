"""The page of several comparisons: selection rules side by side, and tests over data sets. Does not import torch."""

from collections.abc import Mapping, Sequence

from afield.evaluation import METRICS, SELECTIONS, Metric, Ranks, ranks, signed_rank_p
from afield.records import Estimate, Record, Summary
from afield.reporting import plots
from afield.reporting.document import Document, Figure, Section, Table, said
from afield.reporting.provenance import provenance

Summaries = Mapping[str, Summary]
"""Summaries of a data set by selection rule."""

RANK = Metric(lambda *_, **__: 0.0, "average rank", percent=False)


def document(
    data: Mapping[str, Summaries], records: Sequence[Record], recipes: Sequence[str], left_out: Mapping[str, int]
) -> Document:
    """Create the page.

    Args:
        data: summaries by data set and rule, all of the same metric and baseline.
        records: records of all runs.
        recipes: recipes to test over data sets; none if the data sets are not different.
        left_out: number of runs of each data set that were left out.
    """
    first = next(iter(next(iter(data.values())).values()))
    rules, metric = list(next(iter(data.values()))), METRICS[first.metric]
    lead = [
        f"{metric.title} on unseen domains{metric.unit}: mean over domains ± standard deviation over seeds [95 % "
        f"interval]. The intervals of the differences to {first.baseline} are adjusted for the number of recipes.",
        *(f"{rule}: {SELECTIONS.entry(rule).summary}" for rule in rules),
    ]
    sections = [_data_set(name, found, metric, left_out[name]) for name, found in data.items()]
    if len(data) > 1 and len(recipes) > 1:
        sections += [_over_data_sets(data, rule, recipes, metric, first.baseline) for rule in rules]
    return Document(f"Comparison of {', '.join(data)}", tuple(lead), tuple(sections), provenance(records))


def _data_set(name: str, found: Summaries, metric: Metric, left_out: int) -> Section:
    """The recipes of a data set, with columns for each selection rule."""
    rules, summary = list(found), next(iter(found.values()))
    rows = []
    for recipe in summary.recipes:
        row = {"recipe": recipe}
        for rule in rules:
            cells = found[rule].recipes[recipe]
            row[_title(rule)] = _text(cells.average, metric)
            if summary.baseline in summary.recipes:
                difference = "" if recipe == summary.baseline else _text(cells.vs_erm, metric, "+")
                row[f"{_title(rule)} − {summary.baseline}"] = difference
        rows.append(row)
    text = [f"{rule}: {found[rule].reason}" for rule in rules]
    if left_out:
        text.append(f"{left_out} runs are left out, whose domain or seed other recipes do not have.")
    domains = len(next(iter(summary.recipes.values())).domains)
    caption = f"{name}: {domains} domains, n = {len(summary.seeds)} seeds"
    return Section(name, tuple(text), (Table.of(caption, rows),))


def _over_data_sets(
    data: Mapping[str, Summaries], rule: str, recipes: Sequence[str], metric: Metric, baseline: str
) -> Section:
    """Average ranks over data sets, and Wilcoxon's, Friedman's and Nemenyi's tests."""
    values = {recipe: [found[rule].recipes[recipe].average.mean for found in data.values()] for recipe in recipes}
    found, rows = ranks(values, sign=metric.sign), []
    for recipe in sorted(recipes, key=lambda recipe: found.average[recipe]):
        row = {"recipe": recipe, **dict(zip(data, map(metric.text, values[recipe]), strict=True))}
        row["average rank"] = f"{found.average[recipe]:.2f}"
        if baseline in recipes:
            p = signed_rank_p(values[recipe], values[baseline], comparisons=len(recipes) - 1)
            row[f"p vs {baseline}"] = "" if recipe == baseline else f"{p:.3f}"
        rows.append(row)
    text = [
        f"Each data set counts once. Nemenyi's critical difference of average ranks is {found.critical_difference:.2f} "
        "(5 %): recipes whose ranks differ by less are not significantly different.",
        f"p vs {baseline}: Wilcoxon's signed-rank test over data sets, times {len(recipes) - 1} comparisons. With "
        f"{found.count} data sets, p before this correction is at least {2.0 ** (1 - found.count):.3f}.",
    ]
    if found.friedman_p is not None:
        text.insert(0, f"Friedman's test that all recipes have the same rank: p = {found.friedman_p:.3f}.")
    caption = f"{metric.title}{metric.unit}, on {found.count} data sets"
    return Section(f"Over data sets: {rule}", tuple(text), (Table.of(caption, rows),), (_picture(found, rule),))


def _picture(found: Ranks, rule: str) -> Figure:
    """The average ranks, each with half of the critical difference to both sides."""
    half = found.critical_difference / 2
    order = sorted(found.average, key=lambda name: found.average[name])
    rows = {name: Estimate(r, None, found.count, (r - half, r + half)) for name in order for r in [found.average[name]]}
    title = f"{rule}: average ranks; recipes whose lines do not overlap differ significantly (Nemenyi, 5 %)"
    key = f"ranks-{rule}"
    svg = plots.dots_with_intervals(key, title, rows, x="average rank (1 is the best)", metric=RANK)
    return Figure(key, title, svg)


def _title(rule: str) -> str:
    return "ORACLE, an upper bound" if rule == "oracle" else rule


def _text(value: Estimate | None, metric: Metric, sign: str = "") -> str:
    return said(value, sign, digits=1 if metric.percent else 3, factor=metric.factor)
