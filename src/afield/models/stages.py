"""The stages of a backbone: where it gives feature maps of one resolution after the other."""

from __future__ import annotations

from typing import Any

from torch import nn

from afield.errors import InputError


def feature_stages(backbone: nn.Module) -> list[nn.Module]:
    """The modules whose outputs are feature maps ``[B, C, H, W]``, from early to late, without a stem.

    They are those of timm's ``feature_info`` that hold a convolution; `afield.models.ResNet8` names its own likewise.

    Raises:
        InputError: a backbone that names fewer than two (a transformer, say).
    """
    info: Any = getattr(backbone, "feature_info", [])
    modules = dict(backbone.named_modules())
    named = [modules[entry["module"]] for entry in info if entry["module"] in modules]
    stages = [stage for stage in named if any(isinstance(part, nn.Conv2d) for part in stage.modules())]
    if len(stages) < 2:
        raise InputError(f"backbone {type(backbone).__name__} has no stages of feature maps to work on")
    return stages
