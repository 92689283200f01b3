"""The magnitudes that policies draw from: for each operation a bin's magnitude, and whether its sign is drawn too."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Generator, Tensor

from afield.augment.policies.operations import NAMES, Draws, kind

SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast", "sharpness")
"""Operations whose magnitude is negated in half of the draws."""

WIDE_KINDS = NAMES[: kind("invert")]
"""The fourteen operations of TrivialAugment and RandAugment, the first ones of `NAMES`: an index is a `Draws.kind`."""

_SIGNED = torch.tensor([name in SIGNED for name in NAMES])


@lru_cache(maxsize=64)
def magnitudes(
    bins: int, *, shear: float, translate: tuple[float, float], rotate: float, factor: float, bits: tuple[int, int]
) -> Tensor:
    """The magnitude of each bin, in even steps from no effect to the greatest; 0 for operations that take none.

    Args:
        bins: how many, at least 2.
        shear: greatest, in pixels a pixel.
        translate: greatest along x and along y, in pixels.
        rotate: greatest, in degrees.
        factor: greatest change of brightness, color, contrast and sharpness.
        bits: of posterize in the first bin, and how many fewer in the last.

    Returns:
        ``[len(NAMES), bins]``, float64, to be read only.
    """
    greatest = {"shear_x": shear, "shear_y": shear, "translate_x": translate[0], "translate_y": translate[1]}
    greatest |= {"rotate": rotate, "brightness": factor, "color": factor, "contrast": factor, "sharpness": factor}
    found = torch.zeros(len(NAMES), bins, dtype=torch.float64)
    for name, top in greatest.items():
        found[kind(name)] = torch.linspace(0.0, top, bins)
    found[kind("posterize")] = (bits[0] - torch.arange(bins) / ((bins - 1) / bits[1])).round()
    found[kind("solarize")] = torch.linspace(1.0, 0.0, bins)
    return found


def narrow(bins: int, height: int, width: int) -> Tensor:
    """The magnitudes of AutoAugment and RandAugment, for images of this size in pixels; see `magnitudes`."""
    reach = (150.0 / 331.0 * width, 150.0 / 331.0 * height)
    return magnitudes(bins, shear=0.3, translate=reach, rotate=30.0, factor=0.9, bits=(8, 4))


def draws_of(kinds: Tensor, bins: Tensor, space: Tensor, generator: Generator) -> Draws:
    """Operations ``[B, S]`` with the magnitudes that a space has in these bins ``[B, S]``; signs are drawn."""
    negative = _SIGNED.take(kinds) & (torch.rand(kinds.shape, generator=generator) < 0.5)
    magnitude = space.take(kinds * space.shape[1] + bins)
    return Draws(kinds, torch.where(negative, -magnitude, magnitude))
