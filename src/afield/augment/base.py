"""What an augmentation is: its interfaces, its base class, and the registry that every augmentation joins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

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


class Visit(NamedTuple):
    """Which training images a batch holds, and when.

    Attributes:
        indices: of the images among the training images, int64 ``[B]``.
        epoch: from 0.
        seed: of the run.
    """

    indices: Tensor
    epoch: int
    seed: int


@runtime_checkable
class EpochAwareAugmentation(Augmentation, Protocol):
    """An augmentation whose draw for an image depends on its draws in other epochs."""

    def sample_at(self, images: Tensor, generator: Generator, visit: Visit) -> Any:
        """`sample`, for images ``[B, 3, H, W]`` that are known."""


def sample_at(augmentation: Augmentation, images: Tensor, generator: Generator, visit: Visit) -> Any:
    """Draw parameters for known training images; only epoch-aware augmentations use what is known."""
    if isinstance(augmentation, EpochAwareAugmentation):
        return augmentation.sample_at(images, generator, visit)
    return augmentation.sample(images, generator)


AUGMENTATIONS: Registry[Callable[[], Augmentation]] = Registry("augmentation")


class OnBatch(Augmentation):
    """Base of augmentations that keep the targets: calling one samples and applies."""

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
