"""The figures of the report: SVG to be inlined in a page, readable on a light and on a dark one.

Every panel is small, so that its text keeps its size on a phone. Titles and the key of the colors are the
page's.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from afield.records import Estimate

WIDTH = 3.5
"""Inches; shown about as wide as a phone, where 8 points are some 11 pixels."""

PALETTE = (
    "#2f7fd1",
    "#e0701a",
    "#3ca989",
    "#93496e",
    "#9891c8",
    "#58690e",
    "#a56c57",
    "#6653af",
    "#678092",
    "#8183f8",
)
"""Contrast near 3 or more to white and to near-black; far apart to the color-blind too."""

INK = "#010203"
"""Stands for the page's text color until `to_svg` replaces it."""

STYLE: Any = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "grid.alpha": 0.18,
    "grid.color": INK,
    "grid.linewidth": 0.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "afield",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "xtick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.color": INK,
    "ytick.labelsize": 8,
    "ytick.major.size": 0,
}


def colors(recipes: Sequence[str]) -> dict[str, str]:
    """A color for each recipe, the same in every figure."""
    return dict(zip(recipes, cycle(PALETTE), strict=False))


def percent_limits(fractions: ArrayLike) -> tuple[float, float]:
    """Axis limits in per cent that hold all these fractions, but never much beyond 0 and 100."""
    values = 100 * np.clip(np.asarray(fractions, dtype=np.float64), 0, 1)
    margin = max(1.5, 0.06 * float(np.ptp(values)))
    return max(-1.5, float(values.min()) - margin), min(101.5, float(values.max()) + margin)


def interval_plot(
    key: str,
    label: str,
    estimates: Mapping[str, Estimate],
    limits: tuple[float, float],
    color: Mapping[str, str],
    baseline: str | None,
) -> str:
    """A dot and an interval for each recipe, its mean in figures at the right; a line at the baseline's mean.

    Args:
        key: makes the ids of this figure unique in the page.
        label: what is said to those who cannot see it.
        estimates: ``mean`` and ``ci95`` by recipe, as fractions; an interval of None is not drawn.
        limits: of the shared axis, in per cent.
        color: by recipe.
        baseline: name of a recipe.
    """
    with style.context(["default", STYLE]):
        figure, axes = panel(0.5 + 0.24 * len(estimates))
        if baseline is not None:
            axes.axvline(100 * estimates[baseline].mean, color=INK, alpha=0.5, linewidth=1, linestyle=":")
        for row, (recipe, estimate) in enumerate(estimates.items()):
            mean = 100 * estimate.mean
            if estimate.ci95 is not None:
                low, high = (100 * bound for bound in estimate.ci95)
                axes.plot([low, high], [row, row], color=color[recipe], linewidth=2, solid_capstyle="round")
            axes.plot(mean, row, "o", color=color[recipe], markersize=5.5, clip_on=False)
            axes.text(1.03, row, f"{mean:.1f}", transform=axes.get_yaxis_transform(), va="center_baseline")
        axes.set_yticks(range(len(estimates)), [short(recipe) for recipe in estimates])
        axes.set_ylim(len(estimates) - 0.4, -0.6)
        axes.spines.left.set_visible(False)
        axes.set_xlim(*limits)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("%")
        axes.grid(axis="x")
        return to_svg(figure, key, label)


class Curves(NamedTuple):
    """Validation and unseen accuracy ``[seeds, epochs]`` as fractions, and how many epochs were before the first."""

    validation: NDArray[np.float64]
    unseen: NDArray[np.float64]
    before: int


def learning_curves(
    key: str,
    label: str,
    curves: Mapping[str, Curves],
    limits: tuple[float, float],
    color: Mapping[str, str],
) -> str:
    """Accuracy by epoch: validation as means in a band from least to most, the unseen domain dashed.

    Args:
        key: makes the ids of this figure unique in the page.
        label: what is said to those who cannot see it.
        curves: by recipe.
        limits: of the shared axis, in per cent.
        color: by recipe.
    """
    with style.context(["default", STYLE]):
        figure, axes = panel(2.5)
        for recipe, (validation, unseen, before) in curves.items():
            epochs = before + np.arange(1, validation.shape[1] + 1)
            dot = "o" if len(epochs) == 1 else None
            look: dict[str, Any] = {"color": color[recipe], "marker": dot, "markersize": 4}
            low, high = 100 * validation.min(axis=0), 100 * validation.max(axis=0)
            axes.fill_between(epochs, low, high, color=color[recipe], alpha=0.16, linewidth=0)
            axes.plot(epochs, 100 * validation.mean(axis=0), linewidth=1.5, **look)
            axes.plot(epochs, 100 * unseen.mean(axis=0), linewidth=1.2, linestyle=(0, (3, 2)), **look)
        axes.set_ylim(*limits)
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel("accuracy, %")
        axes.grid(axis="y")
        return to_svg(figure, key, label)


def measure_curves(
    key: str, label: str, lines: Mapping[str, NDArray[np.float64]], unit: str, least: float, color: Mapping[str, str]
) -> str:
    """A measure by epoch, from epoch 0, which is untrained; what it is compared with dashed.

    Args:
        key: makes the ids of this figure unique in the page.
        label: what is said to those who cannot see it.
        lines: ``[1 or 2, epochs]`` by part: the measure, and what it is compared with if there is a second row.
        unit: of the measure.
        least: height of the axis, in this unit, so that noise does not look like a trend.
        color: by part.
    """
    with style.context(["default", STYLE]):
        figure, axes = panel(2.1)
        for part, rows in lines.items():
            for values, dashes in zip(rows, ("-", (0, (3, 2))), strict=False):
                axes.plot(values, color=color[part], linewidth=1.5, linestyle=dashes)
        axes.margins(x=0.02)
        low, high = axes.get_ylim()
        room = max(0.0, least - (high - low)) / 2
        axes.set_ylim(low - room, high + room)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("epoch")
        axes.set_ylabel(unit)
        axes.grid(axis="y")
        return to_svg(figure, key, label)


def wrong_class_bars(
    key: str,
    label: str,
    probabilities: Mapping[str, NDArray[np.float64]],
    classes: Sequence[str],
    longest: float,
    color: Mapping[str, str],
) -> str:
    """A group of bars for each wrong class, a bar for each recipe.

    Args:
        key: makes the ids of this figure unique in the page.
        label: what is said to those who cannot see it.
        probabilities: of each wrong class, by recipe.
        classes: their names.
        longest: the end of the shared axis.
        color: by recipe.
    """
    thickness = min(0.8, 0.32 * len(probabilities)) / len(probabilities)
    groups = np.arange(len(classes))
    with style.context(["default", STYLE]):
        figure, axes = panel(0.5 + len(classes) * max(0.24, 0.055 * len(probabilities)))
        for place, (recipe, values) in enumerate(probabilities.items()):
            offset = (place - (len(probabilities) - 1) / 2) * thickness
            axes.barh(groups + offset, values, 0.9 * thickness, color=color[recipe], linewidth=0)
        axes.set_yticks(groups, [short(name) for name in classes])
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.set_xlim(0, longest)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.set_xlabel("mean probability")
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        return to_svg(figure, key, label)


def panel(height: float) -> tuple[Figure, Axes]:
    """A figure as wide as a phone, of this height in inches, with one pair of axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def short(name: str, longest: int = 22) -> str:
    """Both ends of a name that is too long for an axis."""
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[-longest // 2 + 1 :]}"


def to_svg(figure: Figure, key: str, label: str) -> str:
    """The figure as an ``svg`` element for HTML: without size and namespaces, its ids those of no other."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Matplotlib's own font lacks the glyphs of some scripts; the browser, which draws the text, does not.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for metadata in root.findall("{*}metadata"):
        root.remove(metadata)
    for element in root.iter():
        element.tag = element.tag.partition("}")[2]
        element.attrib = {name.partition("}")[2] or name: value for name, value in element.items()}
        for name, value in element.items():
            if name == "id":
                element.set(name, f"{key}-{value}")
            else:
                value = value.replace(INK, "currentColor").replace("url(#", f"url(#{key}-")
                element.set(name, f"#{key}-{value[1:]}" if name == "href" and value[0] == "#" else value)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")
