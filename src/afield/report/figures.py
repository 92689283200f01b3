"""The panels of each figure, drawn from records, summary and analysis; equal axes within a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from afield.report import charts

WRONG_CLASSES = 12
"""At most so many classes have a panel of their wrong classes, and at most so many wrong classes are in one."""


def intervals(summary: dict[str, Any], colour: Mapping[str, str], baseline: str | None) -> dict[str, str]:
    """A plot of means and intervals for each unseen domain, and last one of their average, by title."""
    recipes = summary["recipes"]
    domains = next(iter(recipes.values()))["domains"]
    panels = [(part, {name: row["domains"][part] for name, row in recipes.items()}) for part in domains]
    panels.append(("average of the domains", {name: row["average"] for name, row in recipes.items()}))
    estimates = [estimate for _, panel in panels for estimate in panel.values()]
    limits = charts.percent_limits([value for each in estimates for value in (each["mean"], *(each["ci95"] or ()))])
    return {
        title: charts.interval_plot(f"interval{i}", f"{title}: mean by recipe", panel, limits, colour, baseline)
        for i, (title, panel) in enumerate(panels)
    }


def curves(records: Sequence[dict[str, Any]], colour: Mapping[str, str]) -> dict[str, str]:
    """Learning curves for each unseen domain, by its name."""
    panels = {}
    for part in dict.fromkeys(record["held_out"][0] for record in records):
        runs = [record for record in records if record["held_out"] == [part]]
        panels[part] = {
            recipe: (
                np.array([[e["validation"]["accuracy"] for e in r["epochs"]] for r in runs if r["recipe"] == recipe]),
                np.array([[e["test"][part]["accuracy"] for e in r["epochs"]] for r in runs if r["recipe"] == recipe]),
            )
            for recipe in colour
        }
    limits = charts.percent_limits([curve for panel in panels.values() for curve in panel.values()])
    return {
        part: charts.learning_curves(f"curves{i}", f"{part} unseen: accuracy by epoch", panel, limits, colour)
        for i, (part, panel) in enumerate(panels.items())
    }


def wrong_classes(analysis: dict[str, Any], colour: Mapping[str, str]) -> dict[str, str]:
    """Bars of the mean probability of each wrong class, by true class; the class of the largest one first."""
    classes = np.array(analysis["classes"])
    by_class = {}
    for true in next(iter(analysis["recipes"].values()))["non_target"]:
        wrong = classes != true
        values = {recipe: analysis["recipes"][recipe]["non_target"][true] for recipe in colour}
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
            colour,
        )
    return figures
