"""One self-contained HTML page of an augmentation: what it does to images, and how it was learned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afield.records import Learned, Record
from afield.reporting.charts import colors
from afield.reporting.learned import WATCHED, in_figures, measure_curves
from afield.reporting.provenance import origin
from afield.reporting.templates import write_page

SEVERAL = 4
"""The number of images that are shown with several draws."""


@dataclass(frozen=True)
class Draw:
    """An augmented image as a data URL, and its transformation in words."""

    image: str
    words: str


@dataclass(frozen=True)
class Subject:
    """An image as a data URL, its caption, and draws of it."""

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
        before: the original.
        after: augmented.
        words: the transformation in words.
        right_before: probability of the true class for the original.
        right_after: the same for the augmented image.
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
    """A class, the number of images that were tried, and the hardest draws, hardest first."""

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
    return write_page(
        path,
        "augmentation.html.j2",
        name=name,
        data=data,
        found=found,
        several=found.subjects[:SEVERAL],
        facts=_facts(record, record.learned) if record and record.learned else {},
        learning=_learning(record.learned) if record and record.learned else None,
        provenance=origin([record]) if record else {},
    )


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
        "Epochs": f"{learned.first_epochs} without it, {second} to learn it, {third} on its images",
        "Search": f"{learned.search_s:.1f} s to learn the augmentation",
        "Accuracy after training": f"validation {100 * best.validation['accuracy']:.1f} %{tested}",
        "Run": record.run,
    }


def _learning(learned: Learned) -> dict[str, Any]:
    """What the page says about how it was learned."""
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
