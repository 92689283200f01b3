"""Random shifts by whole pixels, with reflection at the edges."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from afield.augment.base import AUGMENTATIONS, OnBatch
from afield.augment.params import UNTOUCHED, PerImage


@dataclass(frozen=True)
class Shifts(PerImage):
    """The shifts of each image down and to the right, in pixels, int64 ``[B]`` each."""

    down: Tensor
    right: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        right, down = int(self.right[index]), int(self.down[index])
        return f"shift {right}, {down} px" if right or down else UNTOUCHED


@AUGMENTATIONS.register("translate", reference="He et al., Deep Residual Learning, CVPR 2016, section 4.2.")
@dataclass(frozen=True)
class Translate(OnBatch):
    """Shifts each image by up to 2 pixels in each direction, with reflection at the edges; on bytes.

    Attributes:
        pixels: largest shift, smaller than the image side.

    References:
        He et al., "Deep Residual Learning", CVPR 2016, section 4.2, which pads with zeros and uses 4 pixels.
    """

    pixels: int = 2
    takes_bytes = True

    def sample(self, images: Tensor, generator: Generator) -> Shifts:
        """Sample both shifts of each image, uniformly."""
        down, right = torch.randint(-self.pixels, self.pixels + 1, (2, len(images)), generator=generator)
        return Shifts(down, right)

    def apply(self, images: Tensor, params: Shifts) -> Tensor:
        """Shift the batch; returns ``[B, 3, H, W]`` in channels-last memory."""
        rows = _reflected(params.down, images.shape[2]).to(images.device)[:, :, None]
        columns = _reflected(params.right, images.shape[3]).to(images.device)[:, None, :]
        batch = torch.arange(len(images), device=images.device)[:, None, None]
        return images.permute(0, 2, 3, 1)[batch, rows, columns].permute(0, 3, 1, 2)


def _reflected(shift: Tensor, size: int) -> Tensor:
    """The source row (or column) of each row of a shifted image, ``[B, size]``. The edge itself is not repeated."""
    rows = (torch.arange(size) - shift[:, None]).abs()
    return torch.minimum(rows, 2 * (size - 1) - rows)
