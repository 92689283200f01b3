"""The registry of augmentations that are learned on a classifier before they are used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast, get_type_hints

from lightning_fabric import Fabric
from torch import nn

from afield.augment import Augmentation
from afield.errors import InputError, unknown_name
from afield.registry import Registry
from afield.training import Subset


class Augmentor(Augmentation, Protocol):
    """An augmentation with weights, that can be kept."""

    def write(self, path: Path) -> None:
        """As one safetensors file, which `afield.augment.build_chain` reads."""


@dataclass(frozen=True)
class Learned:
    """What learning leaves.

    Attributes:
        augmentor: trained, ready to augment.
        epochs: for each epoch, the first being untrained: measures of each part by name.
        collapses: how it failed, by name, with what helps; none is what is wanted.
        seconds: of learning, without measuring.
    """

    augmentor: Augmentor
    epochs: list[dict[str, dict[str, float]]]
    collapses: dict[str, str]
    seconds: float


class Learn(Protocol):
    """Learn an augmentor on a trained classifier; see `afield.augment.learned.learn_affine`."""

    def __call__(  # noqa: D102
        self,
        classifier: nn.Module,
        train: Subset,
        watched: Mapping[str, Subset],
        settings: Any,
        *,
        seed: int,
        checkpoint_file: Path,
        fabric: Fabric,
        on_epoch: Callable[[int, int, str], None],
    ) -> Learned: ...


@dataclass(frozen=True)
class Method:
    """A way to learn an augmentation: a dataclass of settings, and the function that takes them."""

    settings: type
    learn: Learn


AUGMENTORS: Registry[Method] = Registry("learned augmentation")


def read_settings(kind: type, options: Mapping[str, Any], where: str) -> Any:
    """A dataclass of settings from a mapping, nested ones from nested mappings.

    Raises:
        InputError: a field that is not there (the nearest are given), or a value that does not fit.
    """
    hints = get_type_hints(kind)
    values = dict(options)
    for name, value in options.items():
        if name not in hints:
            unknown_name(f"setting of {where}:", name, hints)
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise InputError(f"{where}: {name} is a table of settings, got {value!r}")
            values[name] = read_settings(cast(type, hints[name]), value, f"{where}.{name}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {error}") from None
