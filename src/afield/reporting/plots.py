"""Figures of the papers, each with its key: curves and bars with intervals, a plane of features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from afield.reporting.charts import INK, PALETTE, STYLE, colors, panel, short, to_svg

MARKERS = "osD^vP"

Series = Mapping[str, Mapping[float, Mapping[str, Any]]]
"""By name: ``mean`` and ``ci95`` (a pair, or None) by position."""


def curves_with_intervals(
    key: str,
    label: str,
    series: Series,
    *,
    x: str,
    y: str,
    factor: float = 100,
    logarithmic: bool = False,
    level: tuple[str, float] | None = None,
) -> str:
    """Means joined by lines, each with its 95 % interval, and a key below.

    Args:
        key: makes the ids of this figure unique in the page.
        label: what is said to those who cannot see it.
        series: what is drawn.
        x: name of the positions.
        y: name of the values.
        factor: of the values; 100 makes fractions per cent.
        logarithmic: whether positions are.
        level: a name and a value at which a dotted line stands.
    """
    with style.context(["default", STYLE]):
        figure, axes = panel(2.9)
        color = colors(list(series))
        width = _nudge(series, logarithmic)
        for place, (name, points) in enumerate(series.items()):
            shift = (place - (len(series) - 1) / 2) * width
            at = np.array(list(points))
            at = at * np.exp(shift) if logarithmic else at + shift
            mean = factor * np.array([point["mean"] for point in points.values()])
            axes.plot(at, mean, MARKERS[place % len(MARKERS)] + "-", color=color[name], markersize=4, label=name)
            for position, point in zip(at, points.values(), strict=True):
                if point["ci95"] is not None:
                    axes.plot([position] * 2, factor * np.array(point["ci95"]), color=color[name], linewidth=1.2)
        if level is not None:
            axes.axhline(factor * level[1], color=INK, alpha=0.6, linewidth=1, linestyle=":", label=level[0])
        if logarithmic:
            positions = sorted({position for points in series.values() for position in points})
            axes.set_xscale("log")
            axes.set_xticks(positions, [f"{position:g}" for position in positions])
            axes.minorticks_off()
            axes.set_xlim(positions[0] / 1.4, positions[-1] * 1.4)
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="y")
        _key(figure)
        return to_svg(figure, key, label)


def bars_with_intervals(
    key: str,
    label: str,
    bars: Mapping[str, Mapping[str, Mapping[str, Any]]],
    *,
    x: str,
    factor: float = 1,
) -> str:
    """A group of bars for each category, a bar with a 95 % interval for each series, and a key below.

    Args:
        key: makes the ids of this figure unique in the page.
        label: what is said to those who cannot see it.
        bars: ``mean`` and ``ci95`` by category, by series.
        x: name of the values.
        factor: of the values.
    """
    categories = list(next(iter(bars.values())))
    thickness = 0.8 / len(bars)
    rows = np.arange(len(categories))
    with style.context(["default", STYLE]):
        figure, axes = panel(0.9 + len(categories) * max(0.24, 0.13 * len(bars)))
        for place, (name, points) in enumerate(bars.items()):
            offset = rows + (place - (len(bars) - 1) / 2) * thickness
            means = factor * np.array([points[category]["mean"] for category in categories])
            axes.barh(offset, means, 0.9 * thickness, color=PALETTE[place], linewidth=0, label=name)
            for at, category in zip(offset, categories, strict=True):
                interval = points[category]["ci95"]
                if interval is not None:
                    low, high = (max(0.0, factor * end) for end in interval)
                    axes.plot([low, high], [at, at], color=INK, linewidth=1)
        axes.set_yticks(rows, [short(category) for category in categories])
        axes.set_ylim(len(categories) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(x)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        _key(figure)
        return to_svg(figure, key, label)


def differences(key: str, label: str, points: Mapping[str, Mapping[str, Any]], *, x: str, factor: float = 100) -> str:
    """A dot and its 95 % interval for each name, and a line at zero.

    Args:
        key: makes the ids of this figure unique in the page.
        label: what is said to those who cannot see it.
        points: ``mean`` and ``ci95`` by name.
        x: name of the values.
        factor: of the values.
    """
    with style.context(["default", STYLE]):
        figure, axes = panel(0.6 + 0.24 * len(points))
        axes.axvline(0, color=INK, alpha=0.6, linewidth=1, linestyle=":")
        for row, value in enumerate(points.values()):
            if value["ci95"] is not None:
                axes.plot([factor * end for end in value["ci95"]], [row, row], color=PALETTE[0], linewidth=2)
            axes.plot(factor * value["mean"], row, "o", color=PALETTE[0], markersize=5)
        axes.set_yticks(range(len(points)), [name.replace(" augmentation", "") for name in points])
        axes.set_ylim(len(points) - 0.4, -0.6)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(x)
        axes.grid(axis="x")
        return to_svg(figure, key, label)


def plane(
    key: str,
    label: str,
    points: NDArray[np.float64],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    *,
    weights: NDArray[np.float64],
    bias: NDArray[np.float64] | None,
) -> str:
    """Features of a plane by class, the regions in which each class is predicted, and its vector.

    Args:
        key: makes the ids of this figure unique in the page.
        label: what is said to those who cannot see it.
        points: ``[N, 2]``.
        labels: ``[N]``, from 0 to K - 1.
        classes: K names.
        weights: class vectors ``[K, 2]``.
        bias: ``[K]`` of a linear head; None for a head that looks at the angle alone.
    """
    reach = 1.15 * float(np.quantile(np.abs(points), 0.995))
    with style.context(["default", STYLE]):
        figure, axes = panel(3.6)
        x, y = np.meshgrid(*[np.linspace(-reach, reach, 300)] * 2)
        vectors = weights if bias is not None else weights / np.linalg.norm(weights, axis=1, keepdims=True)
        scores = np.stack([x, y], axis=-1) @ vectors.T + (0 if bias is None else bias)
        winner = scores.argmax(axis=-1)
        chosen = ListedColormap(PALETTE[: len(classes)])
        levels = np.arange(len(classes) + 1) - 0.5
        axes.contourf(x, y, winner, levels=levels, cmap=chosen, alpha=0.13)
        for place, name in enumerate(classes):
            inside = points[labels == place]
            axes.plot(*inside.T, ".", color=PALETTE[place], markersize=4, alpha=0.7, markeredgewidth=0, label=name)
            tip = 0.9 * reach * weights[place] / np.linalg.norm(weights[place])
            axes.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": PALETTE[place], "linewidth": 1.6})
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-reach, reach)
        axes.set_aspect("equal")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("feature 1")
        axes.set_ylabel("feature 2")
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8, markerscale=3)
        return to_svg(figure, key, label)


def strip(label: str, url: str, width: int, height: int) -> str:
    """Pictures in one PNG, given as a data URL, of so many pixels: enlarged without smoothing."""
    image = f'<image href="{url}" width="{width}" height="{height}" style="image-rendering: pixelated" />'
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{image}</svg>'


def standalone(svg: str) -> str:
    """A figure of a page as a file of its own, dark on white."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" style="color: #1b2028; background: #ffffff" '
    return svg.replace("<svg ", head, 1) + "\n"


def _nudge(series: Series, logarithmic: bool) -> float:
    """How far equal positions of different series stand apart, so that their intervals do not hide each other."""
    positions = np.array(sorted({position for points in series.values() for position in points}))
    if logarithmic:
        return 0.04
    return 0.012 * float(np.ptp(positions)) if len(positions) > 1 else 0.02


def _key(figure: Figure) -> None:
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
