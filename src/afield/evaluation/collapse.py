"""How a learned augmentation can fail, told from what was measured of it. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SMALLEST_DISTANCE = 0.05
"""Of theta from the identity: a rotation of two degrees."""
SMALLEST_GAIN = 0.05
"""In bits of entropy."""
SMALLEST_SPREAD = 0.02
LARGEST_SHARE_AT_BOUND = 0.5

SMALLEST_PIXEL_DISTANCE = 0.01
"""Of variants from their images, in pixels of [0, 1]: two and a half of 255 steps."""
SMALLEST_SHARE_SPREAD = 0.1
"""Of that distance."""

SMALLEST_SHARE_RECOGNIZED = 0.75


def diagnose(measures: Mapping[str, float], settings: Mapping[str, Any]) -> dict[str, str]:
    """The collapses of an affine augmentor: name -> what happened, and the setting that helps.

    Args:
        measures: see `afield.augment.learned.measure`.
        settings: the fields of `afield.augment.learned.AffineSettings`.
    """
    gain = measures["entropy_after"] - measures["entropy_before"]
    if measures["distance"] < SMALLEST_DISTANCE or gain < SMALLEST_GAIN:
        what = "the transformations are close to the identity: the classifier sees nothing new"
        return {"identity": f"{what}; {_helping_identity(settings)}"}
    found = {}
    spread = max(measures["image_spread"], measures["draw_spread"])
    if spread < SMALLEST_SPREAD or measures["at_bound"] > LARGEST_SHARE_AT_BOUND:
        what = "every image is transformed in the same way, as far as the bound allows"
        found["one corner"] = f"{what}; augmentor.draw=distribution with a spread_weight above 0 helps"
    if _unrecognized(measures):
        help = "recognized=0.9 helps, with adaptive weight (recognition_weight=null)"
        found["destroyed"] = f"the teacher no longer recognizes the images; {help}"
    return found


def diagnose_dagan(measures: Mapping[str, float], settings: Mapping[str, Any]) -> dict[str, str]:
    """The collapses of a generator of variants: name -> what happened, and the setting that helps.

    Args:
        measures: see `afield.augment.learned.measure_variants`.
        settings: the fields of `afield.augment.learned.DaganSettings`.
    """
    found = {}
    if measures["distance"] < SMALLEST_PIXEL_DISTANCE:
        helps = "a smaller recognition_weight" if settings["recognition_weight"] else "more epochs"
        found["identity"] = f"the variants are the images themselves; {helps} may help"
    elif measures["draw_spread"] < SMALLEST_SHARE_SPREAD * measures["distance"]:
        found["one variant"] = "an image has one variant, whatever the noise; a larger spread_weight helps"
    if _unrecognized(measures):
        found["destroyed"] = "the classifier no longer recognizes the class; a larger recognition_weight helps"
    return found


def _unrecognized(measures: Mapping[str, float]) -> bool:
    return measures["recognized_after"] < SMALLEST_SHARE_RECOGNIZED * measures["recognized_before"]


def _helping_identity(settings: Mapping[str, Any]) -> str:
    if settings["sign"] == "printed":
        return "sign=corrected helps: the printed sign lowers the entropy"
    if settings["discriminator"] != "none":
        return "discriminator=none helps, with bounded output"
    if settings["recognized"] is not None and settings["recognized"] > 0.9:
        return "a smaller recognized helps"
    return "a larger entropy_weight or spread_weight helps"
