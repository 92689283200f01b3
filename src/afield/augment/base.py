"""The interfaces, the base class and the registry of augmentations."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Generator, Tensor

from afield.registry import Registry


class Augmentation(Protocol):
    """An augmentation with separate steps for sampling and applying. The same parameters give the same images."""

    @abstractmethod
    def sample(self, images: Tensor, generator: Generator) -> Any:
        """Sample parameters for each image of a batch ``[B, 3, H, W]``, float in [0, 1] or uint8."""

    @abstractmethod
    def apply(self, images: Tensor, params: Any) -> Tensor:
        """Apply these parameters to the batch; returns ``[B, 3, H, W]``."""


@runtime_checkable
class MixingAugmentation(Augmentation, Protocol):
    """An augmentation that mixes images and their targets."""

    @abstractmethod
    def mix_targets(self, targets: Tensor, params: Any, num_classes: int) -> Tensor:
        """Mix targets: class indices ``[B]`` or probabilities ``[B, K]`` -> probabilities ``[B, K]``."""


@runtime_checkable
class RelabelingAugmentation(Augmentation, Protocol):
    """An augmentation that turns images of one class into images of another class."""

    @abstractmethod
    def relabel(self, targets: Tensor, params: Any) -> Tensor:
        """Change targets: class indices ``[B]`` or probabilities ``[B, K]`` -> the same."""


class SavedAugmentation(Augmentation, Protocol):
    """A searched or learned augmentation that is saved in a file."""

    @property
    def digest(self) -> str:
        """A hash of 16 hexadecimal digits that identifies the augmentation independently of the file's path."""


def takes_bytes(augmentation: Augmentation) -> bool:
    """Whether the augmentation receives uint8 images, because it needs them or gives the same result for floats."""
    return getattr(augmentation, "takes_bytes", False)


class Visit(NamedTuple):
    """The training images of a batch, and the epoch.

    Attributes:
        indices: indices of the batch in the training images, int64 ``[B]``.
        epoch: number of the epoch, from 0.
        seed: seed of the run.
        targets: class indices of the images, int64 ``[B]``; None if they have no labels.
    """

    indices: Tensor
    epoch: int
    seed: int
    targets: Tensor | None = None


@runtime_checkable
class VisitAwareAugmentation(Augmentation, Protocol):
    """An augmentation whose parameters for an image depend on those in other epochs, or on its class."""

    def sample_at(self, images: Tensor, generator: Generator, visit: Visit) -> Any:
        """Sample parameters for training images ``[B, 3, H, W]`` with known indices."""


def sample_at(augmentation: Augmentation, images: Tensor, generator: Generator, visit: Visit) -> Any:
    """Sample parameters for training images. Only visit-aware augmentations use `visit`."""
    if isinstance(augmentation, VisitAwareAugmentation):
        return augmentation.sample_at(images, generator, visit)
    return augmentation.sample(images, generator)


def change_targets(augmentation: Augmentation, targets: Tensor, params: Any, num_classes: int) -> Tensor:
    """The targets of augmented images, from class indices ``[B]`` or probabilities ``[B, K]``.

    They are probabilities if images are mixed; otherwise their form does not change.
    """
    if isinstance(augmentation, MixingAugmentation):
        return augmentation.mix_targets(targets, params, num_classes)
    return augmentation.relabel(targets, params) if isinstance(augmentation, RelabelingAugmentation) else targets


AUGMENTATIONS: Registry[Callable[[], Augmentation]] = Registry("augmentation", group="afield.augmentations")


class OnBatch(Augmentation):
    """Base class of augmentations that do not change the targets. A call samples parameters and applies them."""

    def __call__(self, images: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Augment a batch ``[B, 3, H, W]``, uint8 or float in [0, 1].

        With a CPU `generator`, the result is reproducible. Without it, each call uses a new seed from the operating
        system.
        """
        return self.apply(images, self.sample(images, generator or fresh()))


def fresh() -> Generator:
    """A generator with a seed from the operating system. The global random state does not change."""
    generator = Generator()
    generator.seed()
    return generator
