"""Color jitter: brightness, contrast, saturation and hue, in a random order for each image."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS
from afield.augment.policies.operations import Draws, OnOperations, kind


@dataclass(frozen=True)
class ColorJitter(OnOperations):
    """The color jitter of torchvision, with a separate order and separate factors for each image.

    If all attributes are zero, it is the identity.

    Attributes:
        brightness: range of the factors, ``[max(0, 1 - b), 1 + b]``. The same holds for contrast and saturation.
        hue: range of the shifts, ``[-h, h]``, in turns of the color circle; at most 0.5.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def sample(self, images: Tensor, generator: Generator) -> Draws:
        """Sample factors and an order for each image. Operations of strength zero are omitted."""
        given = {"brightness": self.brightness, "contrast": self.contrast, "color": self.saturation, "hue": self.hue}
        reach = {name: strength for name, strength in given.items() if strength}
        kinds = torch.tensor([kind(name) for name in reach], dtype=torch.int64)
        high = torch.tensor(list(reach.values()), dtype=torch.float64)
        low = (-high).clamp(min=-1)
        shape = (len(images), len(reach))
        order = torch.rand(shape, generator=generator).argsort(dim=1)
        magnitude = low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)
        return Draws(kinds[order], magnitude.gather(1, order))


AUGMENTATIONS.add(
    "color_jitter",
    lambda: ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4),
    summary="Changes brightness, contrast, saturation and hue by up to 0.4, in random order; on bytes.",
    reference="Howard, Some Improvements on Deep Convolutional Neural Network Based Image Classification, 2013.",
)
