"""Learned augmentations in reports: measures by epoch, measures after the last epoch, and collapses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from afield.records import Learned, Record
from afield.reporting import plots
from afield.reporting.charts import colors

Measures = Mapping[str, float]

WATCHED = "validation"
"""The part whose measures represent a run."""


class Panel(NamedTuple):
    """A figure of a measure by epoch. `before` is the measure of the original images, a dashed line."""

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
    Panel("difference after translation and back", "cycle"),
    Panel("spread over images", "image_spread"),
    Panel("spread over samples of an image", "draw_spread"),
    Panel("parameters at their bound", "at_bound", unit="%"),
)


def measure_curves(epochs: Sequence[Mapping[str, Measures]]) -> dict[str, str]:
    """Figures by title, one for each available measure. Epoch 0 is before training."""
    parts = list(epochs[0])
    figures = {}
    for index, panel in enumerate(PANELS):
        if panel.measure not in epochs[0][parts[0]]:
            continue
        scale, least = (100, 5) if panel.unit == "%" else (1, 0.1)
        solid, dashed = (
            {part: scale * np.array([epoch[part][name] for epoch in epochs]) for part in parts} if name else {}
            for name in (panel.measure, panel.before)
        )
        curves = {part: plots.Curve(solid[part], dashed.get(part)) for part in parts}
        key, label = f"measure{index}", f"{panel.title}: by epoch"
        figures[panel.title] = plots.curves_by_epoch(
            key, label, curves, y=panel.unit, color=colors(parts), height=2.1, least=least
        )
    return figures


def _recognized_fraction(measures: Measures) -> float:
    """The accuracy after augmentation, relative to the accuracy before; NaN if the latter is 0."""
    before = measures["recognized_before"]
    return measures["recognized_after"] / before if before else float("nan")


COLUMNS: dict[str, tuple[Callable[[Measures], float], str]] = {
    "distance from the identity": (lambda m: m["distance"], "{:.2f}"),
    "spread over images": (lambda m: m["image_spread"], "{:.3f}"),
    "spread over samples": (lambda m: m["draw_spread"], "{:.3f}"),
    "entropy gain": (lambda m: m["entropy_after"] - m["entropy_before"], "{:+.2f} bits"),
    "still recognized": (_recognized_fraction, "{:.1%}"),
    "parameters at the bound": (lambda m: m["at_bound"], "{:.1%}"),
    "accuracy of D": (lambda m: m["discriminator_accuracy"], "{:.1%}"),
}
"""Reported values of an augmentor after the last epoch: a function of its measures, and a format."""


def in_figures(measures: Sequence[Measures]) -> dict[str, str]:
    """Formatted means over runs, by title. Missing measures are omitted; an undefined mean is a dash."""
    found = {}
    for title, (of, template) in COLUMNS.items():
        try:
            mean = float(np.mean([of(each) for each in measures]))
        except KeyError:
            continue
        found[title] = "–" if np.isnan(mean) else template.format(mean).replace("-", "−").replace("%", " %")
    return found


def by_recipe(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """For each recipe with a learned augmentation: ``runs``, ``figures`` by title, ``search_s`` and ``collapses``.

    Each collapse is a sentence with the number of affected runs. The figures are measured on validation images; their
    titles are equal for all recipes.
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
