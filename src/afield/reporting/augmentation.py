"""A self-contained HTML page of an augmentation, with augmented images and the training of a learned augmentation."""

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
"""The number of images that are shown with several augmented versions."""


@dataclass(frozen=True)
class Draw:
    """An augmented image as a data URL, and its transformation as text."""

    image: str
    words: str


@dataclass(frozen=True)
class Subject:
    """An image as a data URL, its caption, and its augmented versions."""

    image: str
    caption: str
    draws: tuple[Draw, ...]


@dataclass(frozen=True)
class Range:
    """The 5 %, 50 % and 95 % quantiles of a parameter of the transformations over images."""

    name: str
    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Hard:
    """An image before and after its hardest transformation, as data URLs.

    Attributes:
        before: original image.
        after: augmented image.
        words: transformation as text.
        right_before: probability of the true class for the original image.
        right_after: probability of the class of the augmented image.
        predicted: predicted class of the augmented image.
    """

    before: str
    after: str
    words: str
    right_before: float
    right_after: float
    predicted: str


@dataclass(frozen=True)
class HardClass:
    """A class, the number of images that were tried, and their hardest transformations, hardest first."""

    name: str
    tried: int
    draws: tuple[Hard, ...]


@dataclass(frozen=True)
class Transformations:
    """The effect of an augmentation on images. `ranges` and `hardest` can be empty."""

    subjects: Sequence[Subject]
    ranges: Sequence[Range]
    hardest: Sequence[HardClass]


def render_augmentation(path: Path, name: str, data: str, found: Transformations, record: Record | None = None) -> Path:
    """Write the page of an augmentation; returns its path.

    Args:
        path: path of the file.
        name: name of the augmentation.
        data: name of the data set.
        found: effect of the augmentation.
        record: record of the run that learned the augmentation, if there is one.
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
    """Facts about the run that learned the augmentation, by name."""
    config, epochs = record.config, record.epochs
    without = f", without {' and '.join(record.held_out)}" if record.held_out else ""
    all_epochs = config["recipe"].get("training", {}).get("epochs", config["training"]["epochs"])
    second, third = len(learned.epochs) - 1, all_epochs - learned.first_epochs
    best = max(epochs, key=lambda epoch: epoch.validation["accuracy"])
    tested = "".join(f"; {part} {100 * found['accuracy']:.1f} %" for part, found in best.test.items())
    return {
        "Learned on": f"{config['data']['name']}{without}, seed {record.seed}",
        "Classifier": f"{config['backbone']['name']}, recipe {record.recipe}",
        "Epochs": f"{learned.first_epochs} without augmentation, {second} to learn it, {third} with it",
        "Search": f"{learned.search_s:.1f} s to learn the augmentation",
        "Accuracy after training": f"validation {100 * best.validation['accuracy']:.1f} %{tested}",
        "Run": record.run,
    }


def _learning(learned: Learned) -> dict[str, Any]:
    """The values of the page about the training of the augmentation."""
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
    """Nested settings in the format of ``--settings``: ``a.b=1``."""
    found = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name}.")
        else:
            found.append(f"{before}{name}={value if isinstance(value, str) else json.dumps(value)}")
    return found
