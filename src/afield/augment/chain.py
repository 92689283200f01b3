"""Augmentations one after another: ``"crop_flip+trivialaugment"``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor

from afield.augment.registry import AUGMENTATIONS, Augmentation, MixingAugmentation, takes_bytes


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


def build_chain(names: str) -> Augmentation:
    """The augmentation of this name, or of several joined by ``+``.

    Raises:
        InputError: an unknown name (the nearest are given).
    """
    parts = [AUGMENTATIONS[name]() for name in names.split("+")]
    if len(parts) == 1:
        return parts[0]
    return (MixingChain if any(isinstance(part, MixingAugmentation) for part in parts) else Chain)(parts)
