"""Detection of collapses of a learned augmentation from its measures. Does not import torch."""

from collections.abc import Mapping
from typing import Any

SMALLEST_DISTANCE = 0.05
"""Smallest distance of theta from the identity, equal to a rotation by two degrees."""
SMALLEST_CHANGE = 0.05
"""Smallest change of the entropy, in bits."""
SMALLEST_SPREAD = 0.02
LARGEST_SHARE_AT_BOUND = 0.5

SMALLEST_PIXEL_DISTANCE = 0.01
"""Smallest mean difference between new and original images, of pixel values in [0, 1]: 2.5 of 255 levels."""
SMALLEST_SHARE_SPREAD = 0.1
"""Smallest spread between draws, as a fraction of that distance."""

SMALLEST_SHARE_RECOGNIZED = 0.75


def diagnose(measures: Mapping[str, float], settings: Mapping[str, Any]) -> dict[str, str]:
    """Detect collapses of an affine augmentor: name -> description, and a setting that helps.

    Args:
        measures: result of `afield.augment.learned.measure`.
        settings: fields of `afield.augment.learned.AffineSettings`.
    """
    gain = measures["entropy_after"] - measures["entropy_before"]
    if measures["distance"] < SMALLEST_DISTANCE or abs(gain) < SMALLEST_CHANGE:
        what = "the transformations are close to the identity: the classifier sees nothing new"
        return {"identity": f"{what}; {_raising_entropy(settings)}"}
    found = {}
    if gain < 0:
        what = "the classifier is more certain of the transformed images than of the original ones"
        found["certain"] = f"{what}; {_raising_entropy(settings)}"
    spread = max(measures["image_spread"], measures["draw_spread"])
    if spread < SMALLEST_SPREAD or measures["at_bound"] > LARGEST_SHARE_AT_BOUND:
        what = "every image is transformed in the same way, as far as the bound allows"
        found["one corner"] = f"{what}; augmentor.draw=distribution with a spread_weight above 0 helps"
    if _unrecognized(measures):
        help = "recognized=0.9 helps, with adaptive weight (recognition_weight=null)"
        found["destroyed"] = f"the teacher no longer recognizes the images; {help}"
    return found


def diagnose_dagan(measures: Mapping[str, float], settings: Mapping[str, Any]) -> dict[str, str]:
    """Detect collapses of a generator of variants: name -> description, and a setting that helps.

    Args:
        measures: result of `afield.augment.learned.measure_variants`.
        settings: fields of `afield.augment.learned.DaganSettings`.
    """
    found = {}
    if measures["distance"] < SMALLEST_PIXEL_DISTANCE:
        helps = "a smaller recognition_weight" if settings["recognition_weight"] else "more epochs"
        found["identity"] = f"the variants are almost equal to the images; {helps} may help"
    elif measures["draw_spread"] < SMALLEST_SHARE_SPREAD * measures["distance"]:
        found["one variant"] = "the variant of an image does not depend on the noise; a larger spread_weight helps"
    if _unrecognized(measures):
        found["destroyed"] = "the classifier no longer recognizes the class; a larger recognition_weight helps"
    return found


def diagnose_cyclegan(measures: Mapping[str, float], settings: Mapping[str, Any]) -> dict[str, str]:
    """Detect a collapse of translators: name -> description, and a setting that helps.

    Args:
        measures: result of `afield.augment.learned.measure_translations`.
        settings: fields of `afield.augment.learned.CycleGanSettings`.
    """
    if measures["distance"] >= SMALLEST_PIXEL_DISTANCE:
        return {}
    helps = "a smaller identity_weight" if settings["identity_weight"] else "more epochs"
    return {"identity": f"the translations are almost equal to the images; {helps} may help"}


def forgotten(first: Mapping[str, float], last: Mapping[str, float]) -> dict[str, str]:
    """Detect that the teacher, which learns with the augmentation, no longer knows the original images.

    Args:
        first: measures before the augmentation was learned.
        last: measures after an epoch.
    """
    before, after = first["recognized_before"], last["recognized_before"]
    if not _lost(before, after):
        return {}
    what = f"the teacher recognizes {100 * after:.0f} % of the original images, at first {100 * before:.0f} %"
    return {"forgotten": f"{what}; a smaller refresh_rate helps, such as 0.001 for a pretrained network"}


def _unrecognized(measures: Mapping[str, float]) -> bool:
    return _lost(measures["recognized_before"], measures["recognized_after"])


def _lost(before: float, after: float) -> bool:
    """Whether too small a share of the images that were recognized still is."""
    return after < SMALLEST_SHARE_RECOGNIZED * before


def _raising_entropy(settings: Mapping[str, Any]) -> str:
    if settings["sign"] == "printed":
        return "sign=corrected helps: the printed sign lowers the entropy"
    if settings["discriminator"] != "none":
        return "discriminator=none helps, with bounded output"
    if settings["recognized"] is not None and settings["recognized"] > 0.9:
        return "a smaller recognized helps"
    return "a larger entropy_weight or spread_weight helps"
