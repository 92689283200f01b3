"""Augmentations one after another: ``"crop_flip+trivialaugment"``, ``"crop_flip+policy.json"``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Generator, Tensor

from afield.augment.base import (
    AUGMENTATIONS,
    Augmentation,
    MixingAugmentation,
    SavedAugmentation,
    Visit,
    sample_at,
    takes_bytes,
)
from afield.augment.networks.network_file import read_saved
from afield.augment.policies.policy import Policy
from afield.errors import unknown_name

READERS: Mapping[str, Callable[[Path], SavedAugmentation]] = {".json": Policy.read, ".safetensors": read_saved}
"""Readers of augmentation files, by suffix."""


@dataclass(frozen=True)
class Chain:
    """Augmentations in their order. Parameters are a tuple of each one's. Sizes stay as they are."""

    parts: Sequence[Augmentation]

    @property
    def takes_bytes(self) -> bool:
        """Whether all parts do."""
        return all(takes_bytes(part) for part in self.parts)

    def sample(self, images: Tensor, generator: Generator) -> tuple[Any, ...]:
        """Draw the parameters of each."""
        return tuple(part.sample(images, generator) for part in self.parts)

    def sample_at(self, images: Tensor, generator: Generator, visit: Visit) -> tuple[Any, ...]:
        """Draw the parameters of each, for images that are known."""
        return tuple(sample_at(part, images, generator, visit) for part in self.parts)

    def apply(self, images: Tensor, params: tuple[Any, ...]) -> Tensor:
        """All of them, the first one first."""
        for part, drawn in zip(self.parts, params, strict=True):
            images = part.apply(images, drawn)
        return images


class MixingChain(Chain):
    """A chain in which images are mixed."""

    def mix_targets(self, targets: Tensor, params: tuple[Any, ...], num_classes: int) -> Tensor:
        """Class indices ``[B]`` or probabilities ``[B, K]`` -> probabilities ``[B, K]``."""
        for part, drawn in zip(self.parts, params, strict=True):
            if isinstance(part, MixingAugmentation):
                targets = part.mix_targets(targets, drawn, num_classes)
        return targets


def build_chain(names: str, learned: Mapping[str, Augmentation] | None = None) -> Augmentation:
    """The augmentation of this name, or of this file (see `READERS`), or of several joined by ``+``.

    Args:
        names: of ``AUGMENTATIONS``, of files, or of `learned`.
        learned: augmentations by name that are not in the registry, because they are made for one run.

    Raises:
        InputError: an unknown name (the nearest are given), or a file that cannot be read.
    """
    own = learned or {}
    parts = [own[name] if name in own else _read(name) or _named(name, own) for name in names.split("+")]
    if len(parts) == 1:
        return parts[0]
    return (MixingChain if any(isinstance(part, MixingAugmentation) for part in parts) else Chain)(parts)


def chain_key(names: str) -> str:
    """The names for a run's hash: a file is identified by the digest of its augmentation, not by its path."""
    parts = [(name, _read(name)) for name in names.split("+")]
    return "+".join(f"sha256:{saved.digest}" if saved else name for name, saved in parts)


def _read(name: str) -> SavedAugmentation | None:
    """The augmentation in a file of this name; None if it is no name of a file."""
    path = Path(name)
    return READERS[path.suffix](path) if path.suffix in READERS else None


def _named(name: str, learned: Mapping[str, Augmentation]) -> Augmentation:
    if name not in AUGMENTATIONS:
        unknown_name("augmentation", name, (*AUGMENTATIONS.names, *learned))
    return AUGMENTATIONS[name]()
