"""Division of a backbone before a stage, so that the layers before it need not be computed in every step."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from afield.errors import InputError, unknown_name


class Activations(nn.Identity):
    """The inputs of the last layers of a divided backbone, as a stage: feature maps of the layers before."""


class LastLayers(nn.Sequential):
    """The last layers of a divided backbone.

    Attributes:
        feature_info: name and number of channels of each stage, as in timm. The first stage is the activations before
            the division.
    """

    def __init__(self, layers: Sequence[nn.Module], feature_info: list[dict[str, Any]]) -> None:
        numbered = {str(number): layer for number, layer in enumerate(layers)}
        super().__init__(OrderedDict(activations=Activations(), **numbered))
        self.feature_info = feature_info


def layers(backbone: nn.Module) -> dict[str, nn.Module]:
    """The layers of a backbone by name, in forward order.

    The parts of an `nn.Sequential` directly below the backbone are layers of their own, such as ``blocks.6``.
    """
    if isinstance(backbone, nn.Sequential):
        return dict(backbone.named_children())
    found: dict[str, nn.Module] = {}
    for name, child in backbone.named_children():
        parts = child.named_children() if isinstance(child, nn.Sequential) and len(child) else ()
        found.update({f"{name}.{part}": module for part, module in parts} or {name: child})
    return found


def divide(backbone: nn.Module, stage: str, size: Sequence[int]) -> tuple[nn.Sequential, LastLayers]:
    """Divide a backbone into the layers before a stage and the others, which share its modules.

    Args:
        backbone: network from images ``[B, 3, H, W]`` to features ``[B, D]``.
        stage: name of a layer, such as ``blocks.6``, or of a group of layers, such as ``layer4``, which trains.
        size: height and width of an image to test the division with, in pixels.

    Returns:
        A module from images to activations ``[B, C, H', W']``, and one from activations to features.

    Raises:
        InputError: if there is no such layer, no layer is before it, its inputs are not feature maps, or the backbone
            is not a sequence of layers (for example most transformers).
    """
    names = list(layers(backbone))
    first = next((index for index, name in enumerate(names) if name == stage or name.startswith(f"{stage}.")), None)
    if not first:
        unknown_name("stage to train from:", stage, names[1:])
    modules = list(layers(backbone).values())
    stages = [{"module": "activations", "num_chs": 0}, *_stages_of(backbone, names, first)]
    before, after = nn.Sequential(*modules[:first]), LastLayers(modules[first:], stages)
    training = backbone.training
    backbone.eval()
    try:
        with torch.inference_mode():
            images = torch.rand(1, 3, *size)
            expected, activations = backbone(images), before(images)
            same = activations.ndim == 4 and torch.allclose(after(activations), expected, rtol=1e-4, atol=1e-5)
    except (RuntimeError, TypeError, ValueError):
        same = False
    finally:
        backbone.train(training)
    if not same:
        raise InputError(
            f"--train-from {stage}: backbone {type(backbone).__name__} cannot be divided there, because its layers "
            "do not form a sequence of feature maps"
        )
    stages[0]["num_chs"] = activations.shape[1]
    return before, after


def _stages_of(backbone: nn.Module, names: list[str], first: int) -> list[dict[str, Any]]:
    """The stages of a backbone that end in its layers from `first` on, with the number of their last layer there."""
    info: Any = getattr(backbone, "feature_info", [])
    last = {part: number for number, name in enumerate(names) for part in (name, name.partition(".")[0])}
    ends = ((last.get(entry["module"], -1), entry["num_chs"]) for entry in info)
    return [{"module": str(end - first), "num_chs": channels} for end, channels in ends if end >= first]
