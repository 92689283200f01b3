"""The magnitudes of policies: the magnitude of each operation and bin, and random signs."""

from functools import lru_cache

import torch
from torch import Generator, Tensor

from afield.augment.policies.operations import NAMES, Draws, kind

SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast", "sharpness")
"""Operations whose magnitude is negated with probability 0.5."""

WIDE_KINDS = NAMES[: kind("invert")]
"""The fourteen operations of TrivialAugment and RandAugment: the first ones of `NAMES`, so that indices are equal."""

_SIGNED = torch.tensor([name in SIGNED for name in NAMES])


@lru_cache(maxsize=64)
def magnitudes(
    bins: int, *, shear: float, translate: tuple[float, float], rotate: float, factor: float, bits: tuple[int, int]
) -> Tensor:
    """The magnitude of each bin, in equal steps from no effect to the largest; 0 for operations without magnitude.

    Args:
        bins: number of bins, at least 2.
        shear: largest shear, in pixels per pixel.
        translate: largest translation along x and along y, in pixels.
        rotate: largest rotation, in degrees.
        factor: largest change of brightness, color, contrast and sharpness.
        bits: number of bits of posterize in the first bin, and the decrease until the last bin.

    Returns:
        ``[len(NAMES), bins]``, float64. The tensor is cached: do not modify it.
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
    """Operations ``[B, S]`` with the magnitudes of these bins ``[B, S]`` in `space`, and random signs."""
    negative = _SIGNED.take(kinds) & (torch.rand(kinds.shape, generator=generator) < 0.5)
    magnitude = space.take(kinds * space.shape[1] + bins)
    return Draws(kinds, torch.where(negative, -magnitude, magnitude))
