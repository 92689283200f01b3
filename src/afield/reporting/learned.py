"""What records say of augmentations that were learned: measures by epoch, at the end, and collapses in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from afield.records import Learned, Record
from afield.reporting import charts

Measures = Mapping[str, float]

WATCHED = "validation"
"""The part whose measures stand for a run."""


class Panel(NamedTuple):
    """A figure of one measure by epoch; `before` is that of the images as they are, dashed."""

    title: str
    measure: str
    before: str | None = None
    unit: str = ""


PANELS = (
    Panel("adversarial loss of the augmentor G", "augmentor_loss"),
    Panel("loss of the discriminator D", "discriminator_loss"),
    Panel("accuracy of D", "discriminator_accuracy", unit="%"),
    Panel("distance from the identity", "distance"),
    Panel("entropy of the classifier", "entropy_after", "entropy_before", "bits"),
    Panel("recognized by the teacher", "recognized_after", "recognized_before", "%"),
    Panel("spread over images", "image_spread"),
    Panel("spread over draws of an image", "draw_spread"),
    Panel("parameters at their bound", "at_bound", unit="%"),
)


def measure_curves(epochs: Sequence[Mapping[str, Measures]]) -> dict[str, str]:
    """A figure by title for each measure that was taken; epoch 0 is untrained."""
    parts = list(epochs[0])
    color = charts.colors(parts)
    figures = {}
    for index, panel in enumerate(PANELS):
        if panel.measure not in epochs[0][parts[0]]:
            continue
        names = [panel.measure] + ([panel.before] if panel.before else [])
        scale, least = (100, 5) if panel.unit == "%" else (1, 0.1)
        lines = {part: scale * np.array([[e[part][name] for e in epochs] for name in names]) for part in parts}
        figures[panel.title] = charts.measure_curves(
            f"measure{index}", f"{panel.title}: by epoch", lines, panel.unit, least, color
        )
    return figures


def _entropy_gain(measures: Measures) -> float:
    return measures["entropy_after"] - measures["entropy_before"]


def _still_recognized(measures: Measures) -> float:
    """As a share of what was recognized before; NaN where nothing was."""
    before = measures["recognized_before"]
    return measures["recognized_after"] / before if before else float("nan")


COLUMNS: dict[str, tuple[Callable[[Measures], float], Callable[[float], str]]] = {
    "distance from the identity": (lambda m: m["distance"], "{:.2f}".format),
    "spread over images": (lambda m: m["image_spread"], "{:.3f}".format),
    "spread over draws": (lambda m: m["draw_spread"], "{:.3f}".format),
    "entropy gain": (_entropy_gain, "{:+.2f} bits".format),
    "still recognized": (_still_recognized, "{:.1%}".format),
    "parameters at the bound": (lambda m: m["at_bound"], "{:.1%}".format),
    "accuracy of D": (lambda m: m["discriminator_accuracy"], "{:.1%}".format),
}
"""What is told of an augmentor at the end, from its measures, and how it is written."""


def in_figures(measures: Sequence[Measures]) -> dict[str, str]:
    """By title the mean over runs, written; a dash for what was not measured in each of them."""
    found = {}
    for title, (of, write) in COLUMNS.items():
        try:
            mean = float(np.mean([of(each) for each in measures]))
        except KeyError:
            continue
        found[title] = "–" if np.isnan(mean) else write(mean).replace("-", "−").replace("%", " %")
    return found


def by_recipe(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """For each recipe that learned: ``runs``, ``figures`` by title, ``search_s`` and ``collapses``.

    A collapse is a sentence with the number of runs that it befell; figures are of validation images, and of equal
    titles for all recipes.
    """
    runs: dict[str, list[Learned]] = {}
    for record in records:
        if record.learned:
            runs.setdefault(record.recipe, []).append(record.learned)
    figures = {recipe: in_figures([each.measures for each in learned]) for recipe, learned in runs.items()}
    titles = [title for title in COLUMNS if any(title in found for found in figures.values())]
    return {
        recipe: {
            "runs": len(learned),
            "figures": {title: figures[recipe].get(title, "–") for title in titles},
            "search_s": float(np.mean([each.search_s for each in learned])),
            "collapses": _collapses(learned),
        }
        for recipe, learned in runs.items()
    }


def _collapses(learned: Sequence[Learned]) -> list[str]:
    texts = [f"{name}: {text}" for each in learned for name, text in each.collapses.items()]
    return [f"{texts.count(text)} of {len(learned)} runs, {text}" for text in dict.fromkeys(texts)]
