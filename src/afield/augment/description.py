"""What an image went through, in words with numbers: for every kind of parameters a sentence.

A package that brings an augmentation of its own adds to this with ``@in_words.register``.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from torch import Tensor

from afield.augment.boxes import Boxes
from afield.augment.flips import Mirrored
from afield.augment.mixing import CutPairs, Pairs
from afield.augment.networks.dagan_augmentor import DaganParams
from afield.augment.params import Draws
from afield.augment.policies.augmix import MixtureDraws
from afield.augment.policies.operations import describe
from afield.augment.spatial.affine import decompose
from afield.augment.spatial.affine_params import AffineParams
from afield.augment.spatial.crop import CropBoxes
from afield.augment.spatial.translate import Shifts
from afield.augment.standard import StandardParams

Size = tuple[int, int]

UNTOUCHED = "as it is"


@singledispatch
def in_words(params: Any, image: int, size: Size) -> str:
    """What one image of a batch drew, to show.

    Args:
        params: as an augmentation's ``sample`` gives them.
        image: its place in the batch, from 0.
        size: height and width of the images, in pixels.

    Returns:
        ``"as it is"`` where the draw leaves the image alone; the name of the class for unknown parameters.

    Example:
        >>> import torch
        >>> from afield.augment import build_chain, in_words
        >>> images, generator = torch.rand(2, 3, 32, 32), torch.Generator().manual_seed(1)
        >>> in_words(build_chain("cutout+random_affine").sample(images, generator), 1, (32, 32))
        'box of 16 x 16 px at 0, 3; 4°, 0.99 x 0.94, shear 0.00, shift 0.5, 0.5 px'
    """
    return type(params).__name__


@in_words.register
def _(params: None, image: int, size: Size) -> str:
    return UNTOUCHED


@in_words.register
def _(params: tuple, image: int, size: Size) -> str:
    steps = [in_words(step, image, size) for step in params]
    return "; ".join(step for step in steps if step != UNTOUCHED) or UNTOUCHED


@in_words.register
def _(params: Draws, image: int, size: Size) -> str:
    return describe(params, image) if params.kind[image].any() else UNTOUCHED


@in_words.register
def _(params: AffineParams, image: int, size: Size) -> str:
    return decompose(params.theta, *size).describe(image) if params.applied[image] else UNTOUCHED


@in_words.register
def _(params: DaganParams, image: int, size: Size) -> str:
    return "a variant" if params.applied[image] else UNTOUCHED


@in_words.register
def _(params: StandardParams, image: int, size: Size) -> str:
    (height, width), row = size, params[image : image + 1]
    x, y, half_width, half_height = (
        float(part) for part in (row.center_x, row.center_y, row.half_width, row.half_height)
    )
    parts = []
    if min(half_width, half_height) < 1:
        left, top = (x - half_width + 1) / 2 * width, (y - half_height + 1) / 2 * height
        parts.append(f"crop of {half_width * width:.1f} x {half_height * height:.1f} px at {left:.1f}, {top:.1f}")
    if row.flip:
        parts.append("mirrored")
    for name in ("brightness", "contrast", "saturation"):
        if (factor := float(getattr(row, name))) != 1:
            parts.append(f"{name} x {factor:.2f}")
    if row.hue:
        parts.append(f"hue {360 * float(row.hue):+.0f}°")
    return ", ".join(parts) or UNTOUCHED


@in_words.register
def _(params: Boxes, image: int, size: Size) -> str:
    return f"box of {_place(params, image)}" if params.area[image] else UNTOUCHED


@in_words.register
def _(params: CropBoxes, image: int, size: Size) -> str:
    crop = f"crop of {_place(params, image)}"
    return f"{crop}, mirrored" if params.flip[image] else crop


@in_words.register
def _(params: Mirrored, image: int, size: Size) -> str:
    return "mirrored" if params.flip[image] else UNTOUCHED


@in_words.register
def _(params: Shifts, image: int, size: Size) -> str:
    right, down = _whole(params.right, image), _whole(params.down, image)
    return f"shift {right}, {down} px" if right or down else UNTOUCHED


@in_words.register
def _(params: Pairs, image: int, size: Size) -> str:
    share, partner = _mixed(params, image)
    return f"{100 - share:.0f} % itself, {share:.0f} % of image {partner}" if share else UNTOUCHED


@in_words.register
def _(params: CutPairs, image: int, size: Size) -> str:
    share, partner = _mixed(params, image)
    return f"{share:.0f} % of image {partner}: box of {_place(params, image)}" if share else UNTOUCHED


@in_words.register
def _(params: MixtureDraws, image: int, size: Size) -> str:
    own, *shares = (100 * share for share in params.share[image].tolist())
    chains = [f"{share:.0f} % ({describe(params.chain(i), image)})" for i, share in enumerate(shares)]
    return " + ".join([f"{own:.0f} % itself", *chains])


def _place(boxes: Boxes, image: int) -> str:
    """Width x height, then the column and the row of the corner at the upper left."""
    top, bottom, left, right = (_whole(edge, image) for edge in (boxes.top, boxes.bottom, boxes.left, boxes.right))
    return f"{right - left} x {bottom - top} px at {left}, {top}"


def _mixed(pairs: Pairs, image: int) -> tuple[float, int]:
    """Per cent of the partner, and its place in the batch."""
    return 100 * (1 - float(pairs.share[image])), _whole(pairs.partner, image)


def _whole(numbers: Tensor, image: int) -> int:
    return int(numbers[image])
