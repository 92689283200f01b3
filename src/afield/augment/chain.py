"""Chains of augmentations, such as ``"crop_flip+trivialaugment"`` or ``"crop_flip+policy.json"``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Generator, Tensor

from afield.augment.base import (
    AUGMENTATIONS,
    Augmentation,
    MixingAugmentation,
    RelabelingAugmentation,
    SavedAugmentation,
    Visit,
    change_targets,
    sample_at,
    takes_bytes,
)
from afield.augment.networks.network_file import read_saved
from afield.augment.policies.policy import Policy
from afield.errors import unknown_name

READERS: Mapping[str, Callable[[Path], SavedAugmentation]] = {".json": Policy.read, ".safetensors": read_saved}
"""Functions that read augmentation files, by suffix."""


@dataclass(frozen=True)
class Chain:
    """Augmentations applied in order. The parameters are a tuple. Image sizes do not change."""

    parts: Sequence[Augmentation]

    @property
    def takes_bytes(self) -> bool:
        """Whether all parts accept uint8 images."""
        return all(takes_bytes(part) for part in self.parts)

    def sample(self, images: Tensor, generator: Generator) -> tuple[Any, ...]:
        """Sample the parameters of each part."""
        return tuple(part.sample(images, generator) for part in self.parts)

    def sample_at(self, images: Tensor, generator: Generator, visit: Visit) -> tuple[Any, ...]:
        """Sample the parameters of each part, for training images with known indices.

        Each part gets the class indices that the parts before it leave.
        """
        drawn = []
        for part in self.parts:
            drawn.append(sample_at(part, images, generator, visit))
            if isinstance(part, RelabelingAugmentation) and visit.targets is not None:
                visit = visit._replace(targets=part.relabel(visit.targets, drawn[-1]))
        return tuple(drawn)

    def apply(self, images: Tensor, params: tuple[Any, ...]) -> Tensor:
        """Apply all parts in order."""
        for part, drawn in zip(self.parts, params, strict=True):
            images = part.apply(images, drawn)
        return images

    def relabel(self, targets: Tensor, params: tuple[Any, ...]) -> Tensor:
        """Change targets as all parts do: class indices ``[B]`` or probabilities ``[B, K]`` -> the same."""
        for part, drawn in zip(self.parts, params, strict=True):
            if isinstance(part, RelabelingAugmentation):
                targets = part.relabel(targets, drawn)
        return targets


class MixingChain(Chain):
    """A chain that mixes images."""

    def mix_targets(self, targets: Tensor, params: tuple[Any, ...], num_classes: int) -> Tensor:
        """Mix targets: class indices ``[B]`` or probabilities ``[B, K]`` -> probabilities ``[B, K]``."""
        for part, drawn in zip(self.parts, params, strict=True):
            targets = change_targets(part, targets, drawn, num_classes)
        return targets


def build_chain(names: str, learned: Mapping[str, Augmentation] | None = None) -> Augmentation:
    """Create an augmentation from a name, a file (see `READERS`), or several of them joined by ``+``.

    Args:
        names: names in ``AUGMENTATIONS`` or in `learned`, or paths of files.
        learned: augmentations by name that belong to one run and are not in the registry.

    Raises:
        InputError: if a name is unknown (the message suggests similar names) or a file cannot be read.
    """
    own = learned or {}
    parts = [own[name] if name in own else _read(name) or _create(name, own) for name in names.split("+")]
    if len(parts) == 1:
        return parts[0]
    return (MixingChain if any(isinstance(part, MixingAugmentation) for part in parts) else Chain)(parts)


def chain_parts(augmentation: Augmentation) -> Sequence[Augmentation]:
    """The parts of a chain, or the augmentation itself."""
    return augmentation.parts if isinstance(augmentation, Chain) else [augmentation]


def chain_key(names: str) -> str:
    """The names for the hash of a run. A file is identified by the digest of its augmentation, not by its path."""
    parts = [(name, _read(name)) for name in names.split("+")]
    return "+".join(f"sha256:{saved.digest}" if saved else name for name, saved in parts)


def _read(name: str) -> SavedAugmentation | None:
    """Read the augmentation from this file; None if the name is not that of a file."""
    path = Path(name)
    return READERS[path.suffix](path) if path.suffix in READERS else None


def _create(name: str, learned: Mapping[str, Augmentation]) -> Augmentation:
    if name not in AUGMENTATIONS:
        unknown_name("augmentation", name, (*AUGMENTATIONS.known, *learned))
    return AUGMENTATIONS[name]()
