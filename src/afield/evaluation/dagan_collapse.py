"""Detection of collapses of a generator of image variants from its measures. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afield.evaluation.collapse import SMALLEST_SHARE_RECOGNIZED

SMALLEST_DISTANCE = 0.01
"""Smallest mean difference of pixel values in [0, 1]: 2.5 of 255 levels."""
SMALLEST_SHARE_SPREAD = 0.1
"""Smallest spread between draws, as a fraction of the distance."""


def diagnose_dagan(measures: Mapping[str, float], settings: Mapping[str, Any]) -> dict[str, str]:
    """Detect collapses: name -> description, and a setting that helps.

    Args:
        measures: result of `afield.augment.learned.measure_variants`.
        settings: fields of `afield.augment.learned.DaganSettings`.
    """
    found = {}
    if measures["distance"] < SMALLEST_DISTANCE:
        helps = "a smaller recognition_weight" if settings["recognition_weight"] else "more epochs"
        found["identity"] = f"the variants are almost equal to the images; {helps} may help"
    elif measures["draw_spread"] < SMALLEST_SHARE_SPREAD * measures["distance"]:
        found["one variant"] = "the variant of an image does not depend on the noise; a larger spread_weight helps"
    if measures["recognized_after"] < SMALLEST_SHARE_RECOGNIZED * measures["recognized_before"]:
        found["destroyed"] = "the classifier no longer recognizes the class; a larger recognition_weight helps"
    return found
