"""Figures of reports and papers: dots, bars and curves with intervals, values by epoch, and 2-D features.

The decorator `svg` adds the two first arguments ``key`` and ``label``. If an estimate has no interval, only its mean is
drawn.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from afield.evaluation import Metric
from afield.records import Estimate
from afield.reporting.charts import INK, PALETTE, colors, label_curves, label_rows, legend, panel, svg

MARKERS = "osD^vP"
DASHED = (0, (3, 2))

Values = NDArray[np.float64]
Colors = Mapping[str, str]
Limits = tuple[float, float]
Series = Mapping[str, Mapping[float, Estimate]]
"""Estimates by name and position."""


@svg
def dots_with_intervals(
    estimates: Mapping[str, Estimate],
    *,
    x: str,
    line: float | None = None,
    color: Colors | None = None,
    limits: Limits | None = None,
    metric: Metric | None = None,
) -> Figure:
    """Plot a row for each name, with a dot at its mean and a line for its interval.

    Args:
        estimates: fractions by name.
        x: label of the horizontal axis.
        line: position of a dotted vertical line, in the unit of the estimates.
        color: colors by name; None uses one color for all.
        limits: limits of the axis, as shown.
        metric: metric of the estimates, whose means are printed at the right; None means fractions, without text.
    """
    factor = 100.0 if metric is None else metric.factor
    figure, axes = panel(0.5 + 0.24 * len(estimates))
    if line is not None:
        axes.axvline(factor * line, color=INK, alpha=0.5, linewidth=1, linestyle=":")
    for row, (name, estimate) in enumerate(estimates.items()):
        mean, hue = factor * estimate.mean, color[name] if color else PALETTE[0]
        if estimate.ci95 is not None:
            axes.plot(factor * np.array(estimate.ci95), [row, row], color=hue, linewidth=2, solid_capstyle="round")
        axes.plot(mean, row, "o", color=hue, markersize=5.5, clip_on=False)
        if metric is not None:
            text = metric.text(estimate.mean)
            axes.text(1.03, row, text, transform=axes.get_yaxis_transform(), va="center_baseline")
    label_rows(axes, list(estimates), x)
    axes.spines.left.set_visible(False)
    if limits is not None:
        axes.set_xlim(*limits)
    return figure


@svg
def differences_by_row(
    values: Mapping[str, Sequence[float]],
    estimates: Mapping[str, Estimate],
    *,
    x: str,
    color: str,
    factor: float,
    limits: Limits,
) -> Figure:
    """Plot small dots for single values by row, then a row with a large dot and an interval for each estimate.

    Args:
        values: differences by row.
        estimates: differences with intervals by row.
        x: label of the horizontal axis.
        color: color of all dots.
        factor: factor of the values; 100 converts fractions to points.
        limits: limits of the axis, after multiplication.
    """
    figure, axes = panel(0.5 + 0.24 * (len(values) + len(estimates)))
    axes.axvline(0, color=INK, alpha=0.5, linewidth=1, linestyle=":")
    for row, found in enumerate(values.values()):
        axes.plot(factor * np.array(found), [row] * len(found), "o", color=color, markersize=3, alpha=0.7)
    for row, estimate in enumerate(estimates.values(), start=len(values)):
        if estimate.ci95 is not None:
            axes.plot(factor * np.array(estimate.ci95), [row] * 2, color=color, linewidth=2, solid_capstyle="round")
        axes.plot(factor * estimate.mean, row, "o", color=color, markersize=5.5)
    label_rows(axes, [*values, *estimates], x)
    axes.spines.left.set_visible(False)
    axes.set_xlim(*limits)
    return figure


@svg
def bars_with_intervals(
    bars: Mapping[str, Mapping[str, Estimate]], *, x: str, color: Colors | None = None, longest: float | None = None
) -> Figure:
    """Plot a group of bars for each category, with a bar for each name.

    Args:
        bars: estimates by name and category. All names have the same categories.
        x: label of the horizontal axis.
        color: colors by name; None selects colors and adds a legend.
        longest: upper limit of the axis.
    """
    categories = list(next(iter(bars.values())))
    thickness = min(0.8, 0.32 * len(bars)) / len(bars)
    figure, axes = panel((0.5 if color else 0.9) + len(categories) * max(0.24, 0.055 * len(bars)))
    hues = color or colors(list(bars))
    for index, (name, estimates) in enumerate(bars.items()):
        rows = np.arange(len(categories)) + (index - (len(bars) - 1) / 2) * thickness
        means = [estimates[category].mean for category in categories]
        axes.barh(rows, means, 0.9 * thickness, color=hues[name], linewidth=0, label=name)
        for row, category in zip(rows, categories, strict=True):
            if (interval := estimates[category].ci95) is not None:
                axes.plot(np.maximum(interval, 0), [row, row], color=INK, linewidth=1)
    label_rows(axes, categories, x)
    axes.set_xlim(0, longest)
    if longest is not None:
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    if color is None:
        legend(figure)
    return figure


@svg
def curves_with_intervals(
    series: Series, *, x: str, y: str, factor: float = 100, log: bool = False, level: tuple[str, float] | None = None
) -> Figure:
    """Plot means with intervals, connected by lines, and a legend.

    Args:
        series: estimates by name and position.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        factor: factor of the values; 100 converts fractions to percent.
        log: whether the horizontal axis is logarithmic.
        level: name and value of a dotted horizontal line.
    """
    figure, axes = panel(2.9)
    positions = sorted({position for points in series.values() for position in points})
    # Shift the positions of the series slightly, so that intervals do not overlap.
    step = 0.04 if log else 0.012 * (positions[-1] - positions[0]) or 0.02
    if all(point.ci95 is None for points in series.values() for point in points.values()):
        step = 0.0
    for index, ((name, points), color) in enumerate(zip(series.items(), colors(list(series)).values(), strict=True)):
        shift = (index - (len(series) - 1) / 2) * step
        at = np.array(list(points))
        at = at * np.exp(shift) if log else at + shift
        mean = factor * np.array([point.mean for point in points.values()])
        axes.plot(at, mean, MARKERS[index % len(MARKERS)] + "-", color=color, markersize=4, label=name)
        for position, point in zip(at, points.values(), strict=True):
            if point.ci95 is not None:
                axes.plot([position] * 2, factor * np.array(point.ci95), color=color, linewidth=1.2)
    if level is not None:
        axes.axhline(factor * level[1], color=INK, alpha=0.6, linewidth=1, linestyle=":", label=level[0])
    if log:
        axes.set_xscale("log")
        axes.set_xticks(positions, [f"{position:g}" for position in positions])
        axes.minorticks_off()
        axes.set_xlim(positions[0] / 1.4, positions[-1] * 1.4)
    label_curves(axes, x, y)
    legend(figure)
    return figure


class Curve(NamedTuple):
    """Values ``[E]`` by epoch.

    Attributes:
        solid: values of the solid line.
        dashed: values of the dashed line.
        band: lower and upper edges of the band.
        start: epoch of the first value.
    """

    solid: Values
    dashed: Values | None = None
    band: tuple[Values, Values] | None = None
    start: int = 0


@svg
def curves_by_epoch(
    curves: Mapping[str, Curve], *, y: str, color: Colors, height: float, limits: Limits | None = None, least: float = 0
) -> Figure:
    """Plot curves by epoch.

    Args:
        curves: curves by name.
        y: label of the vertical axis.
        color: colors by name.
        height: height of the panel, in inches.
        limits: limits of the vertical axis.
        least: smallest range of the vertical axis without `limits`, so that noise does not look like a trend.
    """
    figure, axes = panel(height)
    for name, (solid, dashed, band, start) in curves.items():
        epochs = start + np.arange(len(solid))
        look: dict[str, Any] = {"color": color[name], "marker": "o" if len(epochs) == 1 else None, "markersize": 4}
        if band is not None:
            axes.fill_between(epochs, *band, color=color[name], alpha=0.16, linewidth=0)
        axes.plot(epochs, solid, linewidth=1.5, **look)
        if dashed is not None:
            axes.plot(epochs, dashed, linewidth=1.2, linestyle=DASHED, **look)
    label_curves(axes, "epoch", y, epochs=True)
    low, high = axes.get_ylim()
    room = max(0.0, least - (high - low)) / 2
    axes.set_ylim(limits or (low - room, high + room))
    axes.ticklabel_format(axis="y", useOffset=False)
    return figure


@svg
def risk_by_coverage(risks: Mapping[str, Values], *, color: Colors, highest: float) -> Figure:
    """Plot errors in percent by coverage in percent.

    Args:
        risks: fraction of errors ``[C]`` at C coverages with equal distances, the last one 1, by name.
        color: colors by name.
        highest: largest fraction of errors in all panels.
    """
    figure, axes = panel(2.5)
    for name, risk in risks.items():
        coverage = 100 * np.arange(1, len(risk) + 1) / len(risk)
        axes.plot(coverage, 100 * risk, color=color[name], linewidth=1.5)
    label_curves(axes, "left to the model, % of the images", "errors among them, %")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, max(100 * highest, 1) * 1.05)
    return figure


@svg
def plane(
    points: ArrayLike, labels: ArrayLike, classes: Sequence[str], weights: ArrayLike, bias: ArrayLike | None
) -> Figure:
    """Plot 2-D features by class, the regions of the predicted classes, and the class vectors.

    Args:
        points: features ``[N, 2]``.
        labels: class indices ``[N]``, from 0 to K - 1.
        classes: names of the K classes.
        weights: class vectors ``[K, 2]``.
        bias: bias ``[K]`` of a linear head; None for a head that uses only the angle.
    """
    points, labels, vectors = np.asarray(points), np.asarray(labels), np.asarray(weights)
    reach = 1.15 * float(np.quantile(np.abs(points), 0.995))
    figure, axes = panel(3.6)
    x, y = np.meshgrid(*[np.linspace(-reach, reach, 300)] * 2)
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    at = np.stack([x, y], axis=-1)
    scores = at @ directions.T if bias is None else at @ vectors.T + np.asarray(bias)
    levels = np.arange(len(classes) + 1) - 0.5
    colormap = ListedColormap(PALETTE[: len(classes)])
    axes.contourf(x, y, scores.argmax(axis=-1), levels=levels, cmap=colormap, alpha=0.13)
    for index, (name, color) in enumerate(colors(classes).items()):
        inside = points[labels == index]
        axes.plot(*inside.T, ".", color=color, markersize=4, alpha=0.7, markeredgewidth=0, label=name)
        tip = 0.9 * reach * vectors[index] / np.linalg.norm(vectors[index])
        axes.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.6})
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="feature 1", ylabel="feature 2")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))
    legend(figure, 3, enlarge=3)
    return figure


def strip(label: str, url: str, width: int, height: int) -> str:
    """An SVG element with a PNG of this width and height in pixels, a data URL, which is enlarged without smoothing."""
    image = f'<image href="{url}" width="{width}" height="{height}" style="image-rendering: pixelated" />'
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{image}</svg>'


def standalone(svg: str) -> str:
    """Convert a figure of a page to the content of an SVG file, dark on white."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" style="color: #1b2028; background: #ffffff" '
    return svg.replace("<svg ", head, 1) + "\n"
