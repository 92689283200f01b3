"""Hue shift of uint8 batches in HSV, as in ``torchvision.transforms.v2.functional``.

Instead of comparisons and selections of pixels, the code uses products with 0 or 1, which are exact, and bit masks. On
a CPU, they are several times faster.
"""

import torch
from torch import Tensor

TINY = 1e-6
"""A value smaller than the smallest difference between two colors, 1/255."""

LOWEST_AT = (5, 9, 1)
"""The positions where red, green and blue are lowest, in twelfths of the circle."""


def hue(images: Tensor, magnitude: Tensor) -> Tensor:
    """Shift the hue of each image by ``magnitude`` turns, -0.5 to 0.5; bit-identical to ``adjust_hue``."""
    rgb = images.float().mul_(1 / 255)
    red, green, blue = rgb.split(1, dim=1)
    high = torch.maximum(torch.maximum(red, green), blue)
    spread = high - torch.minimum(torch.minimum(red, green), blue)
    saturation = spread / high.clamp(min=TINY)
    turns = _turns(torch.sub(high, rgb, out=rgb).div_(spread.clamp_(min=TINY)))
    turns.add_(magnitude.float().to(images.device).view(-1, 1, 1, 1))
    sixths = turns.sub_(turns.floor()).mul_(6)
    sector = sixths.floor()
    levels = torch.cat(_levels(high, saturation, sector, sixths.sub_(sector)), dim=1)
    return _choose(levels.mul_(256 - 1e-3).short().to(torch.uint8), sector)


def _turns(away: Tensor) -> Tensor:
    """The position of each pixel on the color circle, ``[B, 1, H, W]`` in [0, 1): red 0, green 1/3, blue 2/3.

    `away` is the difference between the highest channel and each channel, divided by the spread of the channels.
    """
    red, green, blue = away.split(1, dim=1)
    not_red, not_green = away[:, :2].div(TINY).clamp_(max=1).split(1, dim=1)
    sixths = (blue - green).mul_(1 - not_red)
    sixths.add_(red.add(2).sub_(blue).mul_(1 - not_green).mul_(not_red))
    sixths.add_(green.add(4).sub_(red).mul_(not_green).mul_(not_red))
    return sixths.mul_(1 / 6).add_(1).frac_()


def _levels(high: Tensor, saturation: Tensor, sector: Tensor, part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The levels of the channels: highest, lowest, and between (decreasing in odd sixths, increasing in even ones)."""
    rest, change = 1 - saturation, part.mul_(saturation)
    odd = sector.mul(0.5).frac_().mul_(2)
    between = (1 - change).mul_(odd).add_(change.add_(rest).mul_(1 - odd))
    return high, rest.mul_(high), between.mul_(high).clamp_(max=1)


def _choose(levels: Tensor, sector: Tensor) -> Tensor:
    """Assign the levels to red, green and blue by the sixth of the circle; returns bytes ``[B, 3, H, W]``."""
    highest, lowest, between = levels.split(1, dim=1)
    lowest_at = torch.tensor(LOWEST_AT, dtype=torch.int8, device=levels.device).view(3, 1, 1)
    # `place` is -2 where the channel is lowest, 2 where it is highest, and 0 elsewhere.
    place = sector.mul(2).to(torch.int8).sub(lowest_at).abs_().sub_(6).abs_().neg_().add_(3)
    is_lowest = place.bitwise_right_shift(7)
    is_highest = place.neg_().bitwise_right_shift_(7)
    is_between = is_lowest.bitwise_or(is_highest).bitwise_not_()
    found = is_lowest.view(torch.uint8).bitwise_and_(lowest)
    found.bitwise_or_(is_highest.view(torch.uint8).bitwise_and_(highest))
    return found.bitwise_or_(is_between.view(torch.uint8).bitwise_and_(between))
