"""Saving of an augmentation's network in a safetensors file, with its config in the metadata."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import nn

from afield.augment.base import Augmentation
from afield.errors import InputError
from afield.records import write_atomic
from afield.validation import read_settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


KINDS: dict[str, type[NetworkAugmentation]] = {}
"""Classes by the metadata key of their config."""


class NetworkAugmentation(Augmentation):
    """Base class of augmentations that consist of a config and a trained network.

    Attributes:
        kind: metadata key of the config, which is saved as JSON.
        config_type: dataclass of settings.
        config: settings of this type, the argument of the constructor.
        network: trained module. It is moved to the device of the images.
    """

    kind: ClassVar[str]
    config_type: ClassVar[type]
    config: DataclassInstance
    network: nn.Module

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        KINDS[cls.kind] = cls

    @property
    def digest(self) -> str:
        """A hash of config and weights, 16 hexadecimal digits."""
        return hashlib.sha256(self._content()).hexdigest()[:16]

    def write(self, path: Path) -> None:
        """Write config and weights to a safetensors file."""
        write_atomic(path, self._content())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file that `write` wrote.

        Raises:
            InputError: if the file does not exist, has another kind, or is damaged.
        """
        try:
            with safe_open(path, framework="pt") as file:
                config = json.loads((file.metadata() or {})[cls.kind])
                augmentor = cls(read_settings(cls.config_type, config, cls.kind))  # type: ignore[call-arg]
                augmentor.network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"cannot read {path} as a learned augmentor of kind {cls.kind!r}: {error}") from None
        return augmentor

    def _content(self) -> bytes:
        config = json.dumps(dataclasses.asdict(self.config))
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        return safetensors.torch.save(tensors, metadata={self.kind: config})


def read_saved(path: Path) -> NetworkAugmentation:
    """Read a trained `AffineAugmentor`, `DaganAugmentor` or `CycleGanAugmentor` from a file.

    Raises:
        InputError: if the file does not exist, is damaged, or contains none of them.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = [kind for kind in KINDS if kind in (file.metadata() or {})]
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    if not found:
        raise InputError(f"{path} is not a learned augmentation: its metadata has none of {', '.join(KINDS)}")
    return KINDS[found[0]].read(path)
