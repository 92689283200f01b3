"""Detection of collapses of a learned augmentor from its measures. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SMALLEST_DISTANCE = 0.05
"""Smallest distance of theta from the identity, equal to a rotation by two degrees."""
SMALLEST_GAIN = 0.05
"""Smallest increase of the entropy, in bits."""
SMALLEST_SPREAD = 0.02
SMALLEST_SHARE_RECOGNIZED = 0.75
LARGEST_SHARE_AT_BOUND = 0.5

REMEDIES = {
    "identity": "the transformations are close to the identity: the classifier sees nothing new",
    "one corner": "every image is transformed in the same way, as far as the bound allows",
    "destroyed": "the teacher no longer recognizes the images",
}
"""Description of each collapse, by name."""


def diagnose(measures: Mapping[str, float], settings: Mapping[str, Any]) -> dict[str, str]:
    """Detect collapses: name -> description, and a setting that helps.

    Args:
        measures: result of `afield.augment.learned.measure`.
        settings: fields of `afield.augment.learned.AffineSettings`.
    """
    found = {}
    gain = measures["entropy_after"] - measures["entropy_before"]
    if measures["distance"] < SMALLEST_DISTANCE or gain < SMALLEST_GAIN:
        found["identity"] = _helping_identity(settings)
    else:
        spread = max(measures["image_spread"], measures["draw_spread"])
        if spread < SMALLEST_SPREAD or measures["at_bound"] > LARGEST_SHARE_AT_BOUND:
            found["one corner"] = "augmentor.draw=distribution with a spread_weight above 0 helps"
        if measures["recognized_after"] < SMALLEST_SHARE_RECOGNIZED * measures["recognized_before"]:
            found["destroyed"] = "recognized=0.9 helps, with adaptive weight (recognition_weight=null)"
    return {name: f"{REMEDIES[name]}; {help}" for name, help in found.items()}


def _helping_identity(settings: Mapping[str, Any]) -> str:
    if settings["sign"] == "printed":
        return "sign=corrected helps: the printed sign lowers the entropy"
    if settings["discriminator"] != "none":
        return "discriminator=none helps, with bounded output"
    if settings["recognized"] is not None and settings["recognized"] > 0.9:
        return "a smaller recognized helps"
    return "a larger entropy_weight or spread_weight helps"
