"""Common parts of figures: inline SVG that is readable on light and dark backgrounds.

All panels are small, so that the text is not scaled down on a phone.
"""

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
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

P = ParamSpec("P")

WIDTH = 3.5
"""Width of a panel in inches, about the width of the screen of a phone, where 8 points are about 11 pixels."""

PALETTE = ("#2f7fd1", "#e0701a", "#3ca989", "#93496e", "#9891c8", "#58690e", "#a56c57", "#6653af", "#678092", "#8183f8")
"""Colors with a contrast of about 3 or more to white and to near-black, distinct also for color-blind readers."""

INK = "#010203"
"""A placeholder that `to_svg` replaces by the text color of the page."""

STYLE: Any = {
    **dict.fromkeys(
        ["axes.edgecolor", "axes.labelcolor", "grid.color", "text.color", "xtick.color", "ytick.color"], INK
    ),
    **dict.fromkeys(["axes.labelsize", "font.size", "xtick.labelsize", "ytick.labelsize"], 8),
    **dict.fromkeys(["axes.facecolor", "figure.facecolor"], "none"),
    **dict.fromkeys(["axes.linewidth", "grid.linewidth"], 0.6),
    **dict.fromkeys(["axes.spines.right", "axes.spines.top", "text.parse_math"], False),
    **dict.fromkeys(["xtick.major.size", "ytick.major.size"], 0),
    "font.family": "DejaVu Sans",
    "grid.alpha": 0.18,
    "svg.fonttype": "none",
    "svg.hashsalt": "afield",
}


def colors(names: Sequence[str]) -> dict[str, str]:
    """A color for each name. The colors are the same in all figures."""
    return dict(zip(names, cycle(PALETTE), strict=False))


def percent_limits(fractions: ArrayLike) -> tuple[float, float]:
    """Axis limits in percent that include all fractions, with a small margin, at most 1.5 beyond 0 and 100."""
    values = 100 * np.clip(np.asarray(fractions, dtype=np.float64), 0, 1)
    margin = max(1.5, 0.06 * float(np.ptp(values)))
    return max(-1.5, float(values.min()) - margin), min(101.5, float(values.max()) + margin)


def svg(draw: Callable[P, Figure]) -> Callable[Concatenate[str, str, P], str]:
    """Decorator of functions that draw a figure, which makes them return an ``svg`` element.

    The decorated function has two additional first arguments: ``key``, which makes the ids of the figure unique in the
    page, and ``label``, the text for screen readers.
    """

    @wraps(draw)
    def drawn(key: str, label: str, /, *args: P.args, **kwargs: P.kwargs) -> str:
        with style.context(["default", STYLE]):
            return to_svg(draw(*args, **kwargs), key, label)

    return drawn


def panel(height: float) -> tuple[Figure, Axes]:
    """Create a figure with this height in inches and the width of the screen of a phone, and its axes."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def label_rows(axes: Axes, names: Sequence[str], x: str) -> None:
    """Label rows 0, 1, ... with names, from top to bottom, and the horizontal axis with `x`."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(x)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def label_curves(axes: Axes, x: str, y: str, *, epochs: bool = False) -> None:
    """Label the horizontal axis with `x` and the vertical axis with `y`. Epochs have integer ticks."""
    if epochs:
        axes.margins(x=0.02)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(axis="y")


def legend(figure: Figure, columns: int = 2, *, enlarge: float = 1) -> None:
    """Add a legend below the axes, with fewer columns if the names are too long for the width of the figure."""
    for count in range(columns, 0, -1):
        found = figure.legend(loc="outside lower center", ncols=count, frameon=False, fontsize=8, markerscale=enlarge)
        if found.get_window_extent().width <= figure.bbox.width or count == 1:
            return
        found.remove()


def short(name: str, longest: int = 30) -> str:
    """Shorten a name that is too long for an axis to its beginning and end."""
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[-longest // 2 + 1 :]}"


def to_svg(figure: Figure, key: str, label: str) -> str:
    """Convert a figure to an ``svg`` element for HTML, without size and namespaces. `key` makes its ids unique."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The font of Matplotlib has no glyphs for some scripts, but the browser renders the text.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
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
