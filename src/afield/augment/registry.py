"""The registry that every augmentation joins, and the interfaces they share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from torch import Generator, Tensor

from afield.registry import Registry


class Augmentation(Protocol):
    """Sampling apart from applying: the same parameters give the same images."""

    @abstractmethod
    def sample(self, images: Tensor, generator: Generator) -> Any:
        """Draw parameters for each image of a batch ``[B, 3, H, W]``, float in [0, 1] or uint8."""

    @abstractmethod
    def apply(self, images: Tensor, params: Any) -> Tensor:
        """The batch under these parameters, ``[B, 3, H, W]``."""


@runtime_checkable
class MixingAugmentation(Augmentation, Protocol):
    """An augmentation that mixes images, and so their targets."""

    @abstractmethod
    def mix_targets(self, targets: Tensor, params: Any, num_classes: int) -> Tensor:
        """Class indices ``[B]`` or probabilities ``[B, K]`` -> the probabilities of the mixed images, ``[B, K]``."""


class SavedAugmentation(Augmentation, Protocol):
    """An augmentation that was searched or learned, and is kept in a file."""

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that name what it does, wherever the file lies."""


def takes_bytes(augmentation: Augmentation) -> bool:
    """Whether it is given uint8 images: it works on bytes, or gives the same result for bytes and floats."""
    return getattr(augmentation, "takes_bytes", False)


AUGMENTATIONS: Registry[Callable[[], Augmentation]] = Registry("augmentation")
