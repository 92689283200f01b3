"""A random shift by whole pixels, with the image reflected at its edges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS, OnBatch
from afield.augment.params import UNTOUCHED, PerImage


@dataclass(frozen=True)
class Shifts(PerImage):
    """How far each image moves down and to the right, in pixels: int64 ``[B]`` each."""

    down: Tensor
    right: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        right, down = int(self.right[index]), int(self.down[index])
        return f"shift {right}, {down} px" if right or down else UNTOUCHED


@AUGMENTATIONS.register("translate", reference="He et al., Deep Residual Learning, CVPR 2016, section 4.2.")
@dataclass(frozen=True)
class Translate(OnBatch):
    """Shifted by up to 2 pixels each way, reflected at the edges; on bytes.

    Each image shifted by up to `pixels` pixels in each direction; edges are filled by reflection.

    Attributes:
        pixels: the largest shift, less than the side of the images.

    References:
        He et al., "Deep Residual Learning", CVPR 2016, section 4.2, there with zeros and 4 pixels.
    """

    pixels: int = 2
    takes_bytes = True

    def sample(self, images: Tensor, generator: Generator) -> Shifts:
        """Draw both shifts of each image, uniformly."""
        down, right = torch.randint(-self.pixels, self.pixels + 1, (2, len(images)), generator=generator)
        return Shifts(down, right)

    def apply(self, images: Tensor, params: Shifts) -> Tensor:
        """The shifted batch ``[B, 3, H, W]``, in channels-last memory."""
        rows = _reflected(params.down, images.shape[2]).to(images.device)[:, :, None]
        columns = _reflected(params.right, images.shape[3]).to(images.device)[:, None, :]
        batch = torch.arange(len(images), device=images.device)[:, None, None]
        return images.permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 3, 1, 2)


def _reflected(shift: Tensor, size: int) -> Tensor:
    """Which row (or column) each row of a shifted image shows, ``[B, size]``; the edge itself is not repeated."""
    rows = (torch.arange(size) - shift[:, None]).abs()
    return torch.minimum(rows, 2 * (size - 1) - rows)
