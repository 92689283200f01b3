"""The panels of each figure, drawn from records, summary and analysis; equal axes within a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from afield.records import Record, Summary
from afield.reporting import charts

WRONG_CLASSES = 12
"""At most so many classes have a panel of their wrong classes, of which it shows at most so many."""


def intervals(summary: Summary, color: Mapping[str, str], baseline: str | None) -> dict[str, str]:
    """A plot of means and intervals for each unseen domain, and last one of their average, by title."""
    recipes = summary.recipes
    domains = next(iter(recipes.values())).domains
    panels = [(part, {name: row.domains[part] for name, row in recipes.items()}) for part in domains]
    panels.append(("average of the domains", {name: row.average for name, row in recipes.items()}))
    estimates = [estimate for _, panel in panels for estimate in panel.values()]
    ends = [value for estimate in estimates for value in (estimate.mean, *(estimate.ci95 or ()))]
    limits = charts.percent_limits(ends)
    return {
        title: charts.interval_plot(f"interval{i}", f"{title}: means", panel, limits, color, baseline)
        for i, (title, panel) in enumerate(panels)
    }


def curves(records: Sequence[Record], color: Mapping[str, str]) -> dict[str, str]:
    """Learning curves for each unseen domain, by its name."""
    panels = {
        part: {recipe: _curves(records, recipe, part) for recipe in color}
        for part in dict.fromkeys(record.unseen for record in records)
    }
    found = [curve for panel in panels.values() for curve in panel.values()]
    fractions = [part.ravel() for curve in found for part in (curve.validation, curve.unseen)]
    limits = charts.percent_limits(np.concatenate(fractions))
    return {
        part: charts.learning_curves(f"curves{i}", f"{part} unseen: accuracy by epoch", panel, limits, color)
        for i, (part, panel) in enumerate(panels.items())
    }


def _curves(records: Sequence[Record], recipe: str, part: str) -> charts.Curves:
    """Those of all seeds, after the epochs in which an augmentation was still to be learned."""
    runs = [record for record in records if (record.recipe, record.unseen) == (recipe, part)]
    validation = [[epoch.validation["accuracy"] for epoch in run.epochs] for run in runs]
    unseen = [[epoch.test[part]["accuracy"] for epoch in run.epochs] for run in runs]
    before = runs[0].learned.first_epochs if runs[0].learned else 0
    return charts.Curves(np.array(validation), np.array(unseen), before)


def wrong_classes(analysis: dict[str, Any], color: Mapping[str, str]) -> dict[str, str]:
    """Bars of the mean probability of each wrong class, by true class; the class of the largest one first."""
    classes = np.array(analysis["classes"])
    by_class = {}
    for true in next(iter(analysis["recipes"].values()))["non_target"]:
        wrong = classes != true
        values = {recipe: analysis["recipes"][recipe]["non_target"][true] for recipe in color}
        by_class[true] = {recipe: np.array(row, dtype=np.float64)[wrong] for recipe, row in values.items()}
    peak = {true: max(float(row.max()) for row in panel.values()) for true, panel in by_class.items()}
    shown = sorted(peak, key=lambda true: -peak[true])[:WRONG_CLASSES]
    figures = {}
    for i, true in enumerate(shown):
        largest = np.argsort(-np.max(list(by_class[true].values()), axis=0), kind="stable")[:WRONG_CLASSES]
        figures[true] = charts.wrong_class_bars(
            f"wrong{i}",
            f"images of {true}: mean probability of wrong classes",
            {recipe: row[largest] for recipe, row in by_class[true].items()},
            classes[classes != true][largest],
            1.05 * peak[shown[0]],
            color,
        )
    return figures
