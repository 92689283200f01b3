"""An augmentation as a function of a batch, for anyone's own loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Generator, Tensor


class OnBatch(ABC):
    """Base of augmentations that keep the targets: calling one samples and applies."""

    @abstractmethod
    def sample(self, images: Tensor, generator: Generator) -> Any:
        """Draw parameters for each image of a batch ``[B, 3, H, W]``, on the CPU."""

    @abstractmethod
    def apply(self, images: Tensor, params: Any) -> Tensor:
        """The batch under these parameters."""

    def __call__(self, images: Tensor, *, generator: Generator | None = None) -> Tensor:
        """A batch ``[B, 3, H, W]``, uint8 or float in [0, 1] -> the batch with a draw for each image.

        A CPU `generator` makes it repeatable; without one each call draws from a seed of the operating system.
        """
        return self.apply(images, self.sample(images, generator or fresh()))


def fresh() -> Generator:
    """A generator with a seed from the operating system; the global random numbers stay as they are."""
    generator = Generator()
    generator.seed()
    return generator
