"""Rectangles of pixels, one for each image."""

from dataclasses import dataclass

import torch
from torch import Tensor

from afield.augment.params import UNTOUCHED, PerImage


@dataclass(frozen=True)
class Boxes(PerImage):
    """Boxes of rows ``top`` to ``bottom - 1`` and columns ``left`` to ``right - 1``, each ``[B]``, int64.

    A box can be empty.
    """

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor

    @property
    def area(self) -> Tensor:
        """The number of pixels of each box, ``[B]``."""
        return (self.bottom - self.top) * (self.right - self.left)

    def place(self, index: int) -> str:
        """The width and height of one box, and the column and row of its upper left corner, as text."""
        top, bottom, left, right = (int(edge[index]) for edge in (self.top, self.bottom, self.left, self.right))
        return f"{right - left} x {bottom - top} px at {left}, {top}"

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        return f"box of {self.place(index)}" if self.area[index] else UNTOUCHED

    def mask(self, images: Tensor) -> Tensor:
        """The mask of the boxes, bool ``[B, 1, H, W]``, on the images' device."""
        top, bottom, left, right = (edge[:, None] for edge in (self.top, self.bottom, self.left, self.right))
        rows, columns = torch.arange(images.shape[2]), torch.arange(images.shape[3])
        in_rows, in_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
        return (in_rows[:, None, :, None] & in_columns[:, None, None, :]).to(images.device)


def first_fitting(tall: Tensor, wide: Tensor, fits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The height and width of the first of several tries ``[B, tries]`` that fits, and whether any fits, ``[B]``."""
    first = fits.int().argmax(dim=1, keepdim=True)
    return tall.gather(1, first).squeeze(1), wide.gather(1, first).squeeze(1), fits.any(dim=1)


def around(center_y: Tensor, center_x: Tensor, half_height: Tensor, half_width: Tensor, size: torch.Size) -> Boxes:
    """Boxes with these centers and half sizes, int64 ``[B]`` each, clipped to the images ``[B, 3, H, W]``."""
    height, width = size[2:]
    return Boxes(
        top=(center_y - half_height).clamp(min=0),
        bottom=(center_y + half_height).clamp(max=height),
        left=(center_x - half_width).clamp(min=0),
        right=(center_x + half_width).clamp(max=width),
    )
