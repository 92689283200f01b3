"""Operations on uint8 batches, each with a magnitude for each image, and draws of them applied to a whole batch.

| operation | magnitude |
|---|---|
| ``identity``, ``autocontrast``, ``equalize``, ``invert`` | none, 0 |
| ``shear_x``, ``shear_y`` | pixels a pixel |
| ``translate_x``, ``translate_y`` | pixels, of which the whole ones count |
| ``rotate`` | degrees |
| ``brightness``, ``color``, ``contrast``, ``sharpness`` | the factor less 1, from -1 |
| ``posterize`` | bits that stay, 0 to 8 |
| ``solarize`` | share of white, 0 to 1 |
| ``hue`` | turns of the colour circle, -0.5 to 0.5 |

All of them are those of ``torchvision.transforms.v2.functional`` on uint8, to the bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from afield.augment.colour import COLOUR
from afield.augment.geometry import GEOMETRY, Interpolation, warp
from afield.augment.params import Draws
from afield.errors import unknown_name

NAMES = ("identity", *GEOMETRY, *COLOUR)
"""Every operation; its place here is its `Draws.kind`."""

CHUNK = 1 << 18
"""Values of images that an operation takes at once, so that what it computes on the way stays in the cache."""


def kind(name: str) -> int:
    """The place of an operation in `NAMES`."""
    if name not in NAMES:
        unknown_name("operation", name, NAMES)
    return NAMES.index(name)


def describe(draws: Draws, image: int) -> str:
    """What an image drew, to show: ``"rotate 27, equalize"``."""
    steps = zip(draws.kind[image].tolist(), draws.magnitude[image].tolist(), strict=True)
    named = [NAMES[place] + (f" {magnitude:.3g}" if magnitude else "") for place, magnitude in steps if place]
    return ", ".join(named) or "identity"


def operate(name: str, images: Tensor, magnitude: Tensor | float) -> Tensor:
    """One operation on a uint8 batch ``[B, 3, H, W]``, with a magnitude for each image ``[B]``, or one for all."""
    magnitudes = torch.as_tensor(magnitude, dtype=torch.float64).expand(len(images))
    kinds = torch.full((len(images), 1), kind(name))
    return apply_draws(images, Draws(kinds, magnitudes[:, None]))


def apply_draws(images: Tensor, draws: Draws, interpolation: Interpolation = "nearest") -> Tensor:
    """What each image drew, step by step; images that drew the same operation are processed together.

    Args:
        images: uint8 ``[B, 3, H, W]``; or float in [0, 1], which is rounded to ``k / 255`` (nothing is lost on
            decoded images) except where an image drew nothing but the identity, which leaves it as it is.
        draws: B rows.
        interpolation: of shear, translation and rotation.

    Returns:
        A new batch of the same dtype and memory format.

    Raises:
        ValueError: images of another shape or dtype, or another number of draws.
    """
    if images.ndim != 4 or images.shape[1] != 3 or not (images.is_floating_point() or images.dtype == torch.uint8):
        raise ValueError(f"images must be uint8 or float [B, 3, H, W], got {images.dtype} {list(images.shape)}")
    if len(draws) != len(images):
        raise ValueError(f"{len(images)} images need as many draws, got {len(draws)}")
    if not len(images):
        return images.clone()
    if not images.is_floating_point():
        return _apply_steps(images, draws, interpolation)
    whole = images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
    found = _apply_steps(whole, draws, interpolation).to(images.dtype).div_(255)
    changed = draws.kind.any(dim=1).to(images.device)
    return torch.where(changed[:, None, None, None], found, images)


def _apply_steps(images: Tensor, draws: Draws, interpolation: Interpolation) -> Tensor:
    """uint8 images after all their steps."""
    found = images.contiguous()
    for kinds, magnitudes in zip(draws.kind.T.tolist(), draws.magnitude.T, strict=True):
        done, order = [], []
        for rows in _groups(kinds, max(1, CHUNK // images[:1].numel())):
            group, places = found.index_select(0, rows.to(images.device)), rows.tolist()
            names, strengths = [NAMES[kinds[row]] for row in places], magnitudes.index_select(0, rows)
            done.append(_operate_alike(group, names, strengths, interpolation))
            order += places
        found = torch.cat(done).index_select(0, torch.tensor(order).argsort().to(images.device))
    return torch.empty_like(images).copy_(found)


def _groups(kinds: list[int], size: int) -> list[Tensor]:
    """Rows to process together, at most `size` at once: all of geometry, and each operation on colours."""
    groups: dict[str, list[int]] = {}
    for row, place in enumerate(kinds):
        groups.setdefault("geometry" if NAMES[place] in GEOMETRY else NAMES[place], []).append(row)
    return [part for rows in groups.values() for part in torch.tensor(rows).split(size)]


def _operate_alike(images: Tensor, names: list[str], magnitudes: Tensor, interpolation: Interpolation) -> Tensor:
    """Images of one group, each with its operation."""
    if names[0] in COLOUR:
        return COLOUR[names[0]](images, magnitudes)
    if names[0] == "identity":
        return images
    size = (images.shape[2], images.shape[3])
    matrices = [GEOMETRY[name](magnitude, *size) for name, magnitude in zip(names, magnitudes.tolist(), strict=True)]
    return warp(images, torch.tensor(matrices), interpolation)
