"""An augmentation as a function of a batch, for anyone's own loop."""

from __future__ import annotations

from torch import Generator, Tensor

from afield.augment.registry import Augmentation


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
