"""Affine transformations as parameters of an augmentation, and their application to a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from afield.augment.params import UNTOUCHED, PerImage
from afield.augment.spatial.affine import Padding, decompose, warp_affine


@dataclass(frozen=True)
class AffineParams(PerImage):
    """``theta`` ``[B, 2, 3]``, see `afield.augment.spatial.affine`; ``applied`` ``[B]``: to which images."""

    theta: Tensor
    applied: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        return decompose(self.theta, *image_size).describe(index) if self.applied[index] else UNTOUCHED


def apply_affine(images: Tensor, params: AffineParams, padding: Padding) -> Tensor:
    """A new batch ``[B, 3, H, W]``, uint8 or float, some images transformed, the others the same to the bit."""
    rows = params.applied.nonzero().squeeze(1).to(images.device)
    if not len(rows):
        return images.clone()
    chosen = images.index_select(0, rows)
    warped = warp_affine(chosen.float(), params.theta.to(images.device, torch.float32).index_select(0, rows), padding)
    if not images.is_floating_point():
        warped = warped.round_()
    return images.clone().index_copy_(0, rows, warped.to(images.dtype))
