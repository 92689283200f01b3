"""Random resized crop and horizontal flip of uint8 batches."""

import math
import platform
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS, OnBatch
from afield.augment.boxes import Boxes, first_fitting

TRIES = 10
BYTES_AS_BYTES = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in (
    "aarch64",
    "arm64",
)
"""Whether PyTorch has a fast kernel to resize bytes on this CPU. Otherwise, they are converted to float32."""


@dataclass(frozen=True)
class CropBoxes(Boxes):
    """The box of each crop, and whether it is flipped horizontally, ``[B]``."""

    flip: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        return f"crop of {self.place(index)}" + (", flipped" if self.flip[index] else "")


@AUGMENTATIONS.register("resized_crop", reference="Szegedy et al., Going Deeper with Convolutions, CVPR 2015.")
@dataclass(frozen=True)
class RandomResizedCrop(OnBatch):
    """Crops 8 to 100 % of the area, resizes with antialiasing, and flips with probability 0.5; on bytes.

    The area and the aspect ratio of the crop are random.

    Boxes have the same distribution as those of torchvision's ``RandomResizedCrop``. Pixels are bit-identical to those
    of ``resized_crop`` and ``horizontal_flip``.

    Attributes:
        size: height and width of the result; None keeps those of the images.
        scale: range of the area, as a fraction of the image area.
        ratio: range of the ratio of width to height, sampled log-uniformly.
        flip: probability of a horizontal flip.

    References:
        Szegedy et al., "Going Deeper with Convolutions", CVPR 2015.
    """

    size: tuple[int, int] | None = None
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    takes_bytes = True

    def sample(self, images: Tensor, generator: Generator) -> CropBoxes:
        """Sample a box for each image: the first of ten that fits, or else the largest centered box."""
        count, (height, width) = len(images), images.shape[2:]
        area = torch.rand(count, TRIES, generator=generator) * (self.scale[1] - self.scale[0]) + self.scale[0]
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        aspect = (torch.rand(count, TRIES, generator=generator) * (high - low) + low).exp()
        wide = (area * height * width * aspect).sqrt().round().long()
        tall = (area * height * width / aspect).sqrt().round().long()
        fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
        tall, wide, any_fits = first_fitting(tall, wide, fits)
        middle = min(max(width / height, self.ratio[0]), self.ratio[1])
        wide = wide.where(any_fits, min(width, round(height * middle)))
        tall = tall.where(any_fits, min(height, round(width / middle)))
        spot = torch.rand(2, count, generator=generator)
        top = (spot[0] * (height - tall + 1)).long().where(any_fits, (height - tall) // 2)
        left = (spot[1] * (width - wide + 1)).long().where(any_fits, (width - wide) // 2)
        mirrored = torch.rand(count, generator=generator) < self.flip
        return CropBoxes(top, top + tall, left, left + wide, mirrored)

    def apply(self, images: Tensor, params: CropBoxes) -> Tensor:
        """Crop and resize; returns ``[B, 3, *size]`` in the dtype and memory format of the images."""
        size = self.size or tuple(images.shape[2:])
        like = (
            torch.channels_last if images.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        )
        found = torch.empty((len(images), 3, *size), dtype=images.dtype, device=images.device, memory_format=like)
        edges = (params.top, params.bottom, params.left, params.right, params.flip)
        for row, (top, bottom, left, right, flip) in enumerate(zip(*(edge.tolist() for edge in edges), strict=True)):
            crop = images[row : row + 1, :, top:bottom, left:right]
            resized = resize(crop, size)[0]
            found[row] = resized.flip(-1) if flip else resized
        return found


AUGMENTATIONS.add(
    "jigen_crop",
    lambda: RandomResizedCrop(scale=(0.8, 1.0)),
    summary="`resized_crop` of 80 to 100 % of the area; `jigen_crop+color_jitter` is JiGen's augmentation.",
    reference="Carlucci et al., Domain Generalization by Solving Jigsaw Puzzles, CVPR 2019.",
)


def resize(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize bilinearly with antialiasing, in the images' dtype. Bytes are handled as in torchvision on this CPU."""
    if images.is_floating_point() or (BYTES_AS_BYTES and images.device.type == "cpu"):
        return F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    found = F.interpolate(images.float(), size, mode="bilinear", antialias=True, align_corners=False)
    return found.round_().clamp_(0, 255).to(torch.uint8)
