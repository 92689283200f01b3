"""The stages of a backbone, whose outputs are feature maps of decreasing resolution."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from afield.errors import InputError
from afield.models.division import Activations


def feature_stages(backbone: nn.Module) -> list[nn.Module]:
    """The modules with feature maps ``[B, C, H, W]`` as outputs, in forward order, without the stem.

    These are the modules in ``feature_info`` (in timm models and in those of this package) that contain a convolution.
    In the last layers of a divided backbone, the activations before them are the first stage.

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
def stage_outputs(
    backbone: nn.Module, function: Callable[[Tensor], Tensor] = lambda maps: maps
) -> Iterator[list[Tensor]]:
    """Yield a list to which a forward pass appends a function of the feature maps of each stage.

    Args:
        backbone: see `feature_stages`.
        function: computes what is kept from feature maps ``[B, C, H, W]``; by default, the maps themselves.

    Raises:
        InputError: see `feature_stages`.
    """
    found: list[Tensor] = []

    def note(stage: nn.Module, inputs: Any, maps: Tensor) -> None:
        found.append(function(maps))

    with ExitStack() as hooks:
        for stage in feature_stages(backbone):
            hooks.callback(stage.register_forward_hook(note).remove)
        yield found


def stage_means(backbone: nn.Module) -> AbstractContextManager[list[Tensor]]:
    """Like `stage_outputs`, with the mean over the pixels of the feature maps of each stage, ``[B, C]``.

    Example:
        >>> backbone = ResNet8()  # doctest: +SKIP
        >>> with stage_means(backbone) as means:  # doctest: +SKIP
        ...     features = backbone(images)
    """
    return stage_outputs(backbone, lambda maps: maps.mean(dim=(2, 3)))


def _stages(backbone: nn.Module) -> list[tuple[nn.Module, int]]:
    info: Any = getattr(backbone, "feature_info", [])
    modules = dict(backbone.named_modules())
    named = [(modules[entry["module"]], entry["num_chs"]) for entry in info if entry["module"] in modules]
    stages = [each for each in named if any(isinstance(part, nn.Conv2d | Activations) for part in each[0].modules())]
    if len(stages) < 2:
        raise InputError(f"backbone {type(backbone).__name__} has fewer than two stages with feature maps")
    return stages
