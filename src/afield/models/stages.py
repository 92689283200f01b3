"""The stages of a backbone, whose outputs are feature maps of decreasing resolution."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from afield.errors import InputError


def feature_stages(backbone: nn.Module) -> list[nn.Module]:
    """The modules with feature maps ``[B, C, H, W]`` as outputs, in forward order, without the stem.

    These are the modules in ``feature_info`` (in timm models and in those of this package) that contain a convolution.

    Raises:
        InputError: if the backbone has fewer than two stages (for example a transformer).
    """
    return [stage for stage, _ in _stages(backbone)]


def stage_channels(backbone: nn.Module) -> list[int]:
    """The number of channels C of each stage in `feature_stages`.

    Raises:
        InputError: see `feature_stages`.
    """
    return [channels for _, channels in _stages(backbone)]


@contextmanager
def stage_means(backbone: nn.Module) -> Iterator[list[Tensor]]:
    """Yield a list to which a forward pass appends the mean over the pixels of the output of each stage, ``[B, C]``.

    Example:
        >>> backbone = ResNet8()  # doctest: +SKIP
        >>> with stage_means(backbone) as means:  # doctest: +SKIP
        ...     features = backbone(images)

    Raises:
        InputError: see `feature_stages`.
    """
    means: list[Tensor] = []

    def note(stage: nn.Module, inputs: Any, maps: Tensor) -> None:
        means.append(maps.mean(dim=(2, 3)))

    with ExitStack() as hooks:
        for stage in feature_stages(backbone):
            hooks.callback(stage.register_forward_hook(note).remove)
        yield means


def _stages(backbone: nn.Module) -> list[tuple[nn.Module, int]]:
    info: Any = getattr(backbone, "feature_info", [])
    modules = dict(backbone.named_modules())
    named = [(modules[entry["module"]], entry["num_chs"]) for entry in info if entry["module"] in modules]
    stages = [each for each in named if any(isinstance(part, nn.Conv2d) for part in each[0].modules())]
    if len(stages) < 2:
        raise InputError(f"backbone {type(backbone).__name__} has fewer than two stages with feature maps")
    return stages
