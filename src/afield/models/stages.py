"""The stages of a backbone, whose outputs are feature maps of decreasing resolution."""

from typing import Any

from torch import nn

from afield.errors import InputError


def feature_stages(backbone: nn.Module) -> list[nn.Module]:
    """The modules with feature maps ``[B, C, H, W]`` as outputs, in forward order, without the stem.

    These are the modules in ``feature_info`` (in timm models and in those of this package) that contain a convolution.

    Raises:
        InputError: if the backbone has fewer than two stages (for example a transformer).
    """
    info: Any = getattr(backbone, "feature_info", [])
    modules = dict(backbone.named_modules())
    named = [modules[entry["module"]] for entry in info if entry["module"] in modules]
    stages = [stage for stage in named if any(isinstance(part, nn.Conv2d) for part in stage.modules())]
    if len(stages) < 2:
        raise InputError(f"backbone {type(backbone).__name__} has fewer than two stages with feature maps")
    return stages
