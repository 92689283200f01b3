"""Turning the colour circle of a uint8 batch, through HSV, as ``torchvision.transforms.v2.functional`` does."""

from __future__ import annotations

import torch
from torch import Tensor

SECTORS = ((0, 2, 1, 1, 3, 0), (3, 0, 0, 2, 1, 1), (1, 1, 3, 0, 0, 2))
"""For red, green and blue: which of `_levels` the channel has in each sixth of the circle."""


def hue(images: Tensor, magnitude: Tensor) -> Tensor:
    """By ``magnitude`` turns, -0.5 to 0.5, each image by its own; the same to the bit as ``adjust_hue``."""
    rgb = images.float().mul_(1 / 255)
    high = rgb.amax(1)
    spread = high - rgb.amin(1)
    flat = spread == 0
    turns = _turns(rgb, high, spread.masked_fill(flat, 1))
    turns = turns.add_(magnitude.float().to(images.device).view(-1, 1, 1)).remainder_(1.0)
    sixths = turns.mul_(6)
    sector = sixths.floor()
    levels = _levels(high, spread / high.masked_fill(flat, 1), sixths.sub_(sector))
    choice = torch.tensor(SECTORS, device=images.device)[:, sector.int().remainder_(6)].movedim(0, 1)
    return levels.gather(1, choice).mul_(256 - 1e-3).to(torch.uint8)


def _turns(rgb: Tensor, high: Tensor, spread: Tensor) -> Tensor:
    """Where on the circle each pixel lies, ``[B, H, W]`` in [0, 1): red 0, green 1/3, blue 2/3."""
    red, green, _ = rgb.unbind(1)
    from_red, from_green, from_blue = ((high[:, None] - rgb) / spread[:, None]).unbind(1)
    sixths = torch.where(
        high == red,
        from_blue - from_green,
        torch.where(high == green, from_red.add(2).sub_(from_blue), from_green.add(4).sub_(from_red)),
    )
    return sixths.mul_(1 / 6).add_(1).fmod_(1)


def _levels(value: Tensor, saturation: Tensor, part: Tensor) -> Tensor:
    """The four levels that a channel can have, ``[B, 4, H, W]``: highest, lowest, falling and rising."""
    falling, rest = saturation * part, 1 - saturation
    levels = torch.stack((torch.ones_like(rest), rest, 1 - falling, falling + rest), dim=1)
    return levels.mul_(value[:, None]).clamp_(0, 1)
