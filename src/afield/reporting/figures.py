"""The figures of a comparison, from records, summary and analysis. The panels of a figure have equal axes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from afield.evaluation import METRICS
from afield.records import Estimate, Record, Summary
from afield.reporting import plots
from afield.reporting.charts import percent_limits

WRONG_CLASSES = 12
"""The largest number of panels of wrong classes, and the largest number of wrong classes in a panel."""


def intervals(
    summary: Summary, domains: Sequence[str], color: Mapping[str, str], baseline: str | None
) -> dict[str, str]:
    """Plots of means and intervals by title: one for each of these unseen domains, the last one for the average."""
    recipes = summary.recipes
    panels = {part: {name: row.domains[part] for name, row in recipes.items()} for part in domains}
    metric = METRICS[summary.metric]
    average = "worst domain" if metric.by_domain else "average over domains"
    panels[average] = {name: row.average for name, row in recipes.items()}
    estimates = [estimate for panel in panels.values() for estimate in panel.values()]
    ends = [end for found in estimates for end in (found.mean, *(found.ci95 or ()))]
    limits = percent_limits(ends) if metric.percent else None
    x = "%" if metric.percent else metric.title
    figures = {}
    for i, (title, panel) in enumerate(panels.items()):
        line = panel[baseline].mean if baseline else None
        figures[title] = plots.dots_with_intervals(
            f"interval{i}", f"{title}: means", panel, x=x, line=line, color=color, limits=limits, metric=metric
        )
    return figures


def differences(
    records: Sequence[Record], summary: Summary, domains: Sequence[str], color: Mapping[str, str]
) -> dict[str, str]:
    """Plots of the differences to the baseline by recipe: each seed in these domains, and the averages with intervals.

    Recipes without a difference at a new place have none.
    """
    value = {(r.recipe, r.unseen, r.seed): r.test[r.unseen][summary.metric] for r in records if r.test}
    rows = {name: row for name, row in summary.recipes.items() if name in color and name != summary.baseline}
    panels: dict[str, tuple[dict[str, list[float]], dict[str, Estimate]]] = {}
    for name, row in rows.items():
        if row.vs_erm is not None and row.at_new_place is not None:
            seeds = {
                domain: [value[name, domain, s] - value[summary.baseline, domain, s] for s in summary.seeds]
                for domain in domains
            }
            panels[name] = seeds, {"these domains": row.vs_erm, "a new place": row.at_new_place}
    metric = METRICS[summary.metric]
    ends = [each for seeds, _ in panels.values() for values in seeds.values() for each in values]
    for _, means in panels.values():
        ends += [end for found in means.values() for end in (found.mean, *(found.ci95 or ()))]
    reach = 1.05 * metric.factor * max(map(abs, ends), default=0.0) or 1.0
    x = f"difference to {summary.baseline}, points" if metric.percent else f"difference of {metric.title}"
    return {
        name: plots.differences_by_row(
            f"difference{i}",
            f"{name}: differences to {summary.baseline}",
            *panel,
            x=x,
            color=color[name],
            factor=metric.factor,
            limits=(-reach, reach),
        )
        for i, (name, panel) in enumerate(panels.items())
    }


def curves(records: Sequence[Record], domains: Sequence[str], color: Mapping[str, str]) -> dict[str, str]:
    """Plots of accuracy by epoch for each of these unseen domains.

    The solid line is the mean over seeds on validation images, with a band from the lowest to the highest seed. The
    dashed line is the mean on the unseen domain.
    """
    runs: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        runs.setdefault((record.unseen, record.recipe), []).append(record)
    found = {(part, recipe): _accuracies(runs[part, recipe], part) for part in domains for recipe in color}
    limits = percent_limits(np.concatenate([values.ravel() for values, _ in found.values()]))
    panels: dict[str, dict[str, plots.Curve]] = {}
    for (part, recipe), (values, start) in found.items():
        validation, unseen = 100 * values
        band = validation.min(axis=0), validation.max(axis=0)
        curve = plots.Curve(validation.mean(axis=0), unseen.mean(axis=0), band, start)
        panels.setdefault(part, {})[recipe] = curve
    figures = {}
    for i, (part, panel) in enumerate(panels.items()):
        label = f"{part} unseen: accuracy by epoch"
        figures[part] = plots.curves_by_epoch(
            f"curves{i}", label, panel, y="accuracy, %", color=color, height=2.5, limits=limits
        )
    return figures


def _accuracies(runs: Sequence[Record], part: str) -> tuple[plots.Values, int]:
    """Validation and unseen accuracies ``[2, seeds, epochs]``, and the number of their first epoch, 1 or larger.

    A run that stopped before the others (``--patience``) keeps its last values.
    """
    longest = max(len(run.epochs) for run in runs)
    epochs = [[*run.epochs, *run.epochs[-1:] * (longest - len(run.epochs))] for run in runs]
    validation = [[epoch.validation["accuracy"] for epoch in each] for each in epochs]
    unseen = [[epoch.test[part]["accuracy"] for epoch in each] for each in epochs]
    before = runs[0].learned.first_epochs if runs[0].learned else 0
    return np.array([validation, unseen]), before + 1


def risks(analysis: dict[str, Any], color: Mapping[str, str]) -> dict[str, str]:
    """Plots of the errors among the images with the largest probabilities, by their fraction, for each unseen domain.

    Empty for an analysis of an earlier version, or with a single unseen part.
    """
    found = {recipe: analysis["recipes"][recipe].get("review", {}) for recipe in color}
    parts = list(next(iter(found.values()), {}))
    curves = {part: {recipe: np.array(each[part]["risk"]) for recipe, each in found.items()} for part in parts}
    highest = max((float(risk.max()) for panel in curves.values() for risk in panel.values()), default=0.0)
    return {
        part: plots.risk_by_coverage(
            f"risk{i}", f"{part} unseen: errors by coverage", panel, color=color, highest=highest
        )
        for i, (part, panel) in enumerate(curves.items())
    }


def wrong_classes(analysis: dict[str, Any], color: Mapping[str, str]) -> dict[str, str]:
    """Bar plots of the mean probability of each wrong class, by true class, ordered by the largest probability."""
    classes, recipes = analysis["classes"], analysis["recipes"]
    tables = {  # [R, K] by true class, with NaN at this class
        true: np.array([recipes[recipe]["non_target"][true] for recipe in color], dtype=np.float64)
        for true in next(iter(recipes.values()))["non_target"]
    }
    largest = {true: table.max(axis=0) for true, table in tables.items()}
    shown = sorted(largest, key=lambda true: -np.nanmax(largest[true]))[:WRONG_CLASSES]
    longest = 1.05 * float(np.nanmax(largest[shown[0]]))
    figures = {}
    for i, true in enumerate(shown):
        wrong = np.argsort(-largest[true], kind="stable")[: min(WRONG_CLASSES, len(classes) - 1)]
        bars = {
            recipe: {classes[j]: Estimate(row[j], None, 1, None) for j in wrong}
            for recipe, row in zip(color, tables[true], strict=True)
        }
        label = f"images of {true}: mean probability of wrong classes"
        figures[true] = plots.bars_with_intervals(
            f"wrong{i}", label, bars, x="mean probability", color=color, longest=longest
        )
    return figures
