"""Affine transformations: composition from bounded parameters, decomposition, and application to images.

A matrix ``theta`` ``[B, 2, 3]`` maps output coordinates to input coordinates, as in `torch.nn.functional.affine_grid`.
Both axes have the range -1 to 1; x points to the right and y points down. `compose` combines rotation, shear and scale,
then translation. `decompose` is its inverse.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.augment.params import UNTOUCHED, PerImage
from afield.validation import Checked, setting

Padding = Literal["reflection", "zeros"]


@dataclass(frozen=True)
class AffineBounds(Checked):
    """Bounds of the parameters, in both directions. Mirror images are impossible.

    Attributes:
        rotation: largest angle, in degrees.
        scale: largest factor of width and of height; the smallest factor is its inverse.
        shear: largest shear, in pixels per pixel.
        translation: largest shift, as a fraction of the image side.

    Raises:
        InputError: if a bound is out of range.
    """

    rotation: float = setting(30.0, high=180)
    scale: float = setting(1.4, low=1, high=10)
    shear: float = setting(0.3, high=10)
    translation: float = setting(0.25, high=1)

    def limits(self) -> Tensor:
        """The bounds of rotation, scale of x and y, shear, translation of x and y, ``[6]``.

        The units are radians, logarithms of factors, pixels per pixel, and half image sides.
        """
        scale, translation = math.log(self.scale), 2 * self.translation
        return torch.tensor([math.radians(self.rotation), scale, scale, self.shear, translation, translation])


def compose(parameters: Tensor) -> Tensor:
    """Compose matrices ``[B, 2, 3]`` from parameters ``[B, 6]``, as in `AffineBounds.limits`. Zeros: the identity."""
    angle, log_x, log_y, shear, x, y = parameters.unbind(1)
    cos, sin, width, height = angle.cos(), angle.sin(), log_x.exp(), log_y.exp()
    upper = torch.stack([cos * width, (cos * shear - sin) * height, x], dim=1)
    lower = torch.stack([sin * width, (sin * shear + cos) * height, y], dim=1)
    return torch.stack([upper, lower], dim=1)


@dataclass(frozen=True)
class Decomposition:
    """The effect of a transformation on the image; all attributes are ``[B]``.

    Attributes:
        rotation: rotation in degrees, counter-clockwise.
        scale_x: factor of the width, after rotation; below 1, the image is smaller.
        scale_y: factor of the height, after rotation; negative for a mirror image.
        shear: shift of the sampling positions along a row, in pixels per pixel of height.
        shift_x: shift of the center to the right, in pixels.
        shift_y: shift of the center down, in pixels.
    """

    rotation: Tensor
    scale_x: Tensor
    scale_y: Tensor
    shear: Tensor
    shift_x: Tensor
    shift_y: Tensor

    def describe(self, index: int) -> str:
        """The transformation of one image as text: ``"12°, 1.10 x 0.93, shear 0.05, shift 2.0, -1.5 px"``."""
        values = {field.name: float(getattr(self, field.name)[index]) for field in fields(self)}
        # Adding zero removes the sign of a rounded -0.
        turn, x, y = (round(values[name], 1) + 0.0 for name in ("rotation", "shift_x", "shift_y"))
        size = f"{values['scale_x']:.2f} x {values['scale_y']:.2f}"
        return f"{turn:.0f}°, {size}, shear {round(values['shear'], 2) + 0.0:.2f}, shift {x:.1f}, {y:.1f} px"


def decompose(theta: Tensor, height: int, width: int) -> Decomposition:
    """Decompose ``theta`` ``[B, 2, 3]`` for images of this height and width in pixels."""
    (a, b, x), (c, d, y) = theta[:, 0].unbind(1), theta[:, 1].unbind(1)
    angle, length, determinant = torch.atan2(c, a), torch.hypot(a, c), a * d - b * c
    return Decomposition(
        rotation=angle.rad2deg(),
        scale_x=1 / length,
        scale_y=length / determinant,
        shear=(a * b + c * d) / determinant,
        shift_x=(b * y - d * x) / determinant * width / 2,
        shift_y=(c * x - a * y) / determinant * height / 2,
    )


def warp_affine(images: Tensor, theta: Tensor, padding: Padding = "reflection") -> Tensor:
    """Transform float images ``[B, 3, H, W]`` with ``theta`` ``[B, 2, 3]``, bilinear. Both arguments get gradients."""
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def identity_distance(theta: Tensor) -> Tensor:
    """The Frobenius norm of ``theta - I``, ``[B]``."""
    return (theta - torch.eye(2, 3, dtype=theta.dtype, device=theta.device)).flatten(1).norm(dim=1)


@dataclass(frozen=True)
class AffineParams(PerImage):
    """Matrices ``theta`` ``[B, 2, 3]``, and ``applied`` ``[B]``: whether each image is transformed."""

    theta: Tensor
    applied: Tensor

    def describe(self, index: int, image_size: tuple[int, int]) -> str:
        """See `PerImage.describe`."""
        return decompose(self.theta, *image_size).describe(index) if self.applied[index] else UNTOUCHED


def apply_affine(images: Tensor, params: AffineParams, padding: Padding) -> Tensor:
    """Transform the selected images of a uint8 or float batch; returns a new batch with the others unchanged."""
    rows = params.applied.nonzero().squeeze(1).to(images.device)
    if not len(rows):
        return images.clone()
    chosen = images.index_select(0, rows)
    warped = warp_affine(chosen.float(), params.theta.to(images.device, torch.float32).index_select(0, rows), padding)
    if not images.is_floating_point():
        warped = warped.round_()
    return images.clone().index_copy_(0, rows, warped.to(images.dtype))
