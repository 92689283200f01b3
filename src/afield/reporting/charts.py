"""How figures are made: SVG to be inlined in a page, readable on a light and on a dark background.

Every panel is small, so that its text keeps its size on a phone.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import cycle
from typing import Any, Concatenate, ParamSpec
from xml.etree import ElementTree

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

P = ParamSpec("P")

WIDTH = 3.5
"""Inches; a panel is about as wide as a phone's screen, where 8 points are about 11 pixels."""

PALETTE = ("#2f7fd1", "#e0701a", "#3ca989", "#93496e", "#9891c8", "#58690e", "#a56c57", "#6653af", "#678092", "#8183f8")
"""Contrast of about 3 or more to white and to near-black; distinct for color-blind readers too."""

INK = "#010203"
"""A placeholder for the page's text color, which `to_svg` replaces."""

STYLE: Any = {
    **dict.fromkeys(
        ["axes.edgecolor", "axes.labelcolor", "grid.color", "text.color", "xtick.color", "ytick.color"], INK
    ),
    **dict.fromkeys(["axes.labelsize", "font.size", "xtick.labelsize", "ytick.labelsize"], 8),
    **dict.fromkeys(["axes.linewidth", "grid.linewidth"], 0.6),
    **dict.fromkeys(["axes.spines.right", "axes.spines.top", "text.parse_math"], False),
    **dict.fromkeys(["xtick.major.size", "ytick.major.size"], 0),
    "font.family": "DejaVu Sans",
    "grid.alpha": 0.18,
    "svg.fonttype": "none",
    "svg.hashsalt": "afield",
}


def colors(names: Sequence[str]) -> dict[str, str]:
    """A color for each name, the same in every figure."""
    return dict(zip(names, cycle(PALETTE), strict=False))


def percent_limits(fractions: ArrayLike) -> tuple[float, float]:
    """Axis limits in percent that include all these fractions but extend little beyond 0 and 100."""
    values = 100 * np.clip(np.asarray(fractions, dtype=np.float64), 0, 1)
    margin = max(1.5, 0.06 * float(np.ptp(values)))
    return max(-1.5, float(values.min()) - margin), min(101.5, float(values.max()) + margin)


def svg(draw: Callable[P, Figure]) -> Callable[Concatenate[str, str, P], str]:
    """Turn a function that draws a figure into one that returns it as an ``svg`` element.

    The new function takes two more arguments before the others: ``key``, which makes the ids of the figure unique in
    the page, and ``label``, which screen readers read aloud.
    """

    @wraps(draw)
    def drawn(key: str, label: str, /, *args: P.args, **kwargs: P.kwargs) -> str:
        with style.context(["default", STYLE]):
            return to_svg(draw(*args, **kwargs), key, label)

    return drawn


def panel(height: float) -> tuple[Figure, Axes]:
    """A figure as wide as a phone's screen, of this height in inches, with one pair of axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def label_rows(axes: Axes, names: Sequence[str], x: str) -> None:
    """Names from top to bottom at rows 0, 1, ...; values of `x` from left to right."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(x)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def label_curves(axes: Axes, x: str, y: str, *, epochs: bool = False) -> None:
    """Positions `x`, which are whole numbers if they are epochs, from left to right; values of `y` upwards."""
    if epochs:
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="y")


def legend(figure: Figure, columns: int = 2, *, enlarge: float = 1) -> None:
    """The names of what is drawn, below the axes."""
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=8, markerscale=enlarge)


def short(name: str, longest: int = 30) -> str:
    """Both ends of a name that is too long for an axis."""
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[-longest // 2 + 1 :]}"


def to_svg(figure: Figure, key: str, label: str) -> str:
    """The figure as an ``svg`` element for HTML, without size and namespaces; `key` makes its ids unique."""
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
