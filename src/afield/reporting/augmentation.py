"""One self-contained HTML page of an augmentation: what it does to images, and how it was learned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afield.records import Learned, Record, write_atomic
from afield.reporting.charts import colors
from afield.reporting.learned import WATCHED, in_figures, measure_curves
from afield.reporting.provenance import origin
from afield.reporting.templates import templates

SEVERAL = 4
"""Images of which several draws are shown."""


@dataclass(frozen=True)
class Draw:
    """An augmented image as a data URL, and in words what it went through."""

    image: str
    words: str


@dataclass(frozen=True)
class Subject:
    """An image as a data URL, what it is, and draws of it."""

    image: str
    caption: str
    draws: tuple[Draw, ...]


@dataclass(frozen=True)
class Range:
    """A number of the transformations: its 5 %, 50 % and 95 % quantiles over images."""

    name: str
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Hard:
    """An image before and after its hardest draw, as data URLs.

    Attributes:
        before: as it is.
        after: augmented.
        words: what it went through.
        right_before: probability of its class, as it is.
        right_after: and augmented.
        predicted: class of the augmented image.
    """

    before: str
    after: str
    words: str
    right_before: float
    right_after: float
    predicted: str


@dataclass(frozen=True)
class HardClass:
    """A class, of how many images draws were tried, and the hardest ones, hardest first."""

    name: str
    tried: int
    draws: tuple[Hard, ...]


@dataclass(frozen=True)
class Transformations:
    """What an augmentation did to images; `ranges` and `hardest` may be empty."""

    subjects: Sequence[Subject]
    ranges: Sequence[Range]
    hardest: Sequence[HardClass]


def render_augmentation(path: Path, name: str, data: str, found: Transformations, record: Record | None = None) -> Path:
    """Write the page; returns its path.

    Args:
        path: of the file.
        name: of the augmentation.
        data: name of the images.
        found: see `Transformations`.
        record: of the run in which the augmentation was learned, if it was.
    """
    page = templates().get_template("augmentation.html.j2")
    html = page.render(
        name=name,
        data=data,
        found=found,
        several=found.subjects[:SEVERAL],
        facts=_facts(record, record.learned) if record and record.learned else {},
        learning=_learning(record.learned) if record and record.learned else None,
        provenance=origin([record]) if record else {},
    )
    write_atomic(path, html + "\n")
    return path


def _facts(record: Record, learned: Learned) -> dict[str, str]:
    """The run in which it was learned, by name."""
    config, epochs = record.config, record.epochs
    without = f", without {' and '.join(record.held_out)}" if record.held_out else ""
    all_epochs = config["recipe"].get("training", {}).get("epochs", config["training"]["epochs"])
    second, third = len(learned.epochs) - 1, all_epochs - learned.first_epochs
    best = max(epochs, key=lambda epoch: epoch.validation["accuracy"])
    tested = "".join(f"; {part} {100 * found['accuracy']:.1f} %" for part, found in best.test.items())
    return {
        "Learned on": f"{config['data']['name']}{without}, seed {record.seed}",
        "Classifier": f"{config['backbone']['name']}, recipe {record.recipe}",
        "Epochs": f"{learned.first_epochs} without it, {second} of learning it, {third} on its images",
        "Search": f"{learned.search_s:.1f} s of learning the augmentation",
        "Accuracy after training": f"validation {100 * best.validation['accuracy']:.1f} %{tested}",
        "Run": record.run,
    }


def _learning(learned: Learned) -> dict[str, Any]:
    """What the page says of how it was learned."""
    epochs = learned.epochs
    return {
        "collapses": learned.collapses,
        "watched": WATCHED,
        "figures": {part: in_figures([measures]) for part, measures in epochs[-1].items()},
        "color": colors(list(epochs[0])),
        "curves": measure_curves(epochs),
        "measures": list(epochs[0][WATCHED]),
        "settings": _flat(learned.settings),
    }


def _flat(settings: Mapping[str, Any], before: str = "") -> list[str]:
    """Nested settings as ``--settings`` takes them: ``a.b=1``."""
    found = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name}.")
        else:
            found.append(f"{before}{name}={value if isinstance(value, str) else json.dumps(value)}")
    return found
