"""Hue shift of uint8 batches in HSV, as in ``torchvision.transforms.v2.functional``.

The result is bit-identical, with fewer operations on floats. A shift keeps the highest and the lowest of the three
channels of a pixel as they are, so that only the one in between is computed, from a single division. Operations on
bytes find out which channel is which. They are faster than operations on floats, and comparisons and selections of
floats are slower than products with 0 or 1, which are exact.
"""

import torch
from torch import Tensor

TINY = 1e-6
"""A value smaller than the smallest difference between two colors, 1/255."""

LOWEST_AT = (5, 9)
"""The positions where red and green are lowest, in twelfths of the circle."""


def hue(images: Tensor, magnitude: Tensor) -> Tensor:
    """Shift the hue of each image by ``magnitude`` turns, -0.5 to 0.5; bit-identical to ``adjust_hue``."""
    red, green, blue = images.split(1, dim=1)
    highest = torch.maximum(torch.maximum(red, green), blue)
    lowest = torch.minimum(torch.minimum(red, green), blue)
    between = red ^ green ^ blue ^ highest ^ lowest
    high, low, middle = (level.float().mul_(1 / 255) for level in (highest, lowest, between))
    spread = torch.sub(high, low, out=low)
    saturation = spread / high.clamp(min=TINY)
    away = torch.sub(high, middle, out=middle).div_(spread.clamp_(min=TINY))
    turns = _turns(away, red, green, blue, highest)
    turns.add_(magnitude.float().to(images.device).view(-1, 1, 1, 1))
    sixths = turns.sub_(turns.floor()).mul_(6)
    sector = sixths.floor()
    between = _between(high, saturation, sector, sixths.sub_(sector))
    return _choose(highest, lowest, between, sector)


def _turns(away: Tensor, red: Tensor, green: Tensor, blue: Tensor, highest: Tensor) -> Tensor:
    """The position of each pixel on the color circle, ``[B, 1, H, W]`` in [0, 1): red 0, green 1/3, blue 2/3.

    `away` is the difference between the highest channel and the one in between, divided by that between the highest
    and the lowest. It is added to the position of the highest channel, or subtracted from it, as the order of the
    channels is an odd or an even permutation of red, green and blue.
    """
    not_red, not_green = (red != highest).view(torch.uint8), (green != highest).view(torch.uint8)
    start = not_green.add_(1).mul_(not_red).mul_(2)
    odd = (red < green).bitwise_xor_(green < blue).bitwise_xor_(red < blue).view(torch.uint8)
    sign = odd.mul(2).sub_(1).view(torch.int8).float()
    sixths = away.mul_(sign).add_(start.add_(1).sub_(odd).float()).sub_(odd.float())
    return sixths.mul_(1 / 6).add_(1).frac_()


def _between(high: Tensor, saturation: Tensor, sector: Tensor, part: Tensor) -> Tensor:
    """The channel between the highest and the lowest, as bytes: decreasing in odd sixths, increasing in even ones."""
    half = sector.mul(0.5).frac_()  # 1/2 in odd sixths, 0 in even ones
    change = part.mul_(saturation)
    start = saturation.mul_(half.mul(2).sub_(1)).add_(1)
    level = change.mul_(half.mul_(-4).add_(1)).add_(start).mul_(high)
    return level.mul_(256 - 1e-3).short().to(torch.uint8)


def _choose(highest: Tensor, lowest: Tensor, between: Tensor, sector: Tensor) -> Tensor:
    """Assign the levels to red, green and blue by the sixth of the circle; returns bytes ``[B, 3, H, W]``."""
    lowest_at = torch.tensor(LOWEST_AT, dtype=torch.int8, device=between.device).view(2, 1, 1)
    # `place` is 1 where the channel is highest, 5 where it is lowest, and 3 in between.
    place = sector.mul(2).to(torch.int8).sub(lowest_at).abs_().sub_(6).abs_()
    at_least = place.sub(2).bitwise_right_shift_(7).view(torch.uint8).bitwise_and_(highest)
    at_most = place.sub_(4).bitwise_right_shift_(7).view(torch.uint8).bitwise_or_(lowest)
    found = between.new_empty(len(between), 3, *between.shape[2:])
    red_green, blue = found.split((2, 1), dim=1)
    torch.minimum(torch.maximum(at_least, between, out=at_least), at_most, out=red_green)
    red, green = red_green.split(1, dim=1)
    torch.bitwise_xor(highest ^ lowest, between ^ red, out=blue).bitwise_xor_(green)
    return found
