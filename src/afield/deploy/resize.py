"""The resizing of `afield.data.decode.squash` as tensor operations, for exported models."""

import torch
from torch import Tensor

BITS = 22
"""Pillow's weights are whole multiples of ``2**-BITS``."""


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images of bytes, float64 ``[N, 3, H, W]``, to a height and width, with the pixels of `squash`.

    The width is resized first. Pillow rounds the weights and the result of each direction. Both are whole numbers below
    ``2**53``, so the sums are exact in float64, in any order.
    """
    height, width = size
    narrow = _rounded(images @ _weights(images.shape[3], width).T)
    return _rounded(_weights(images.shape[2], height) @ narrow)


def _weights(before: int, after: int) -> Tensor:
    """The weights ``[after, before]`` of a triangle filter, times ``2**BITS``; wider if there are fewer pixels."""
    pixels = torch.arange(before, dtype=torch.float64)
    scale = (pixels[-1] + 1) / after
    centers = (torch.arange(after, dtype=torch.float64)[:, None] + 0.5) * scale
    weights = (1 - ((pixels - centers + 0.5) * (1 / scale.clamp(min=1))).abs()).clamp(min=0)
    return (weights / weights.sum(dim=1, keepdim=True) * 2**BITS + 0.5).floor()


def _rounded(sums: Tensor) -> Tensor:
    return ((sums + 2 ** (BITS - 1)) / 2**BITS).floor()
