"""How a generator of variants can fail, told from what was measured of it. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afield.evaluation.collapse import SMALLEST_SHARE_RECOGNIZED

SMALLEST_DISTANCE = 0.01
"""Of pixels in [0, 1]: two and a half of 255 steps."""
SMALLEST_SHARE_SPREAD = 0.1
"""Of the distance."""


def diagnose_dagan(measures: Mapping[str, float], settings: Mapping[str, Any]) -> dict[str, str]:
    """The collapses that these measures show: name -> what happened, and the setting that helps.

    Args:
        measures: see `afield.augment.learned.measure_variants`.
        settings: the fields of `afield.augment.learned.DaganSettings`.
    """
    found = {}
    if measures["distance"] < SMALLEST_DISTANCE:
        helps = "a smaller recognition_weight" if settings["recognition_weight"] else "more epochs"
        found["identity"] = f"the variants are the images themselves; {helps} may help"
    elif measures["draw_spread"] < SMALLEST_SHARE_SPREAD * measures["distance"]:
        found["one variant"] = "an image has one variant, whatever the noise; a larger spread_weight helps"
    if measures["recognized_after"] < SMALLEST_SHARE_RECOGNIZED * measures["recognized_before"]:
        found["destroyed"] = "the classifier no longer recognizes the class; a larger recognition_weight helps"
    return found
