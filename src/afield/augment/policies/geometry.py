"""Shear, translation and rotation of uint8 batches, as in torchvision's automatic augmentations.

Shear and rotation map a magnitude to a matrix that gives the source of each output pixel. `warp` applies the matrices
of a whole batch. The arithmetic and its order are those of torchvision's ``functional.affine`` and ``rotate``, so that
the pixels are bit-identical. Translations are by whole pixels, so that `translate` only copies. Pixels outside the
image are black.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["nearest", "bilinear"]
Matrix = list[float]
"""A 2 x 3 matrix from output coordinates ``(x, y, 1)`` to input coordinates, in pixels from the image center."""


def shear_x(magnitude: float, height: int, width: int) -> Matrix:
    """Shift each row by ``magnitude`` pixels per pixel of height. The top row does not move."""
    degrees = math.degrees(math.atan(magnitude))
    return inverse_matrix(shear=(degrees, 0.0), center=(-width * 0.5, -height * 0.5))


def shear_y(magnitude: float, height: int, width: int) -> Matrix:
    """Shift each column by ``magnitude`` pixels per pixel of width. The left column does not move."""
    degrees = math.degrees(math.atan(magnitude))
    return inverse_matrix(shear=(0.0, degrees), center=(-width * 0.5, -height * 0.5))


def rotate(magnitude: float, height: int, width: int) -> Matrix:
    """Rotate around the center by ``magnitude`` degrees, counter-clockwise."""
    return inverse_matrix(angle=-(magnitude % 360))


MATRICES: Mapping[str, Callable[[float, int, int], Matrix]] = {
    function.__name__: function for function in (shear_x, shear_y, rotate)
}

TRANSLATIONS = {"translate_x": (1, 0), "translate_y": (0, 1)}
"""Translations, with the directions to the right and down of a positive magnitude."""

GEOMETRY = ("shear_x", "shear_y", *TRANSLATIONS, "rotate")


def translate(images: Tensor, shifts: Sequence[tuple[int, int]]) -> Tensor:
    """Shift each of the images ``[B, 3, H, W]`` to the right and down by whole pixels."""
    height, width = images.shape[2:]
    found = torch.zeros_like(images)
    for image, target, (right, down) in zip(images, found, shifts, strict=True):
        x, y = min(max(right, -width), width), min(max(down, -height), height)
        source = image[:, max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)]
        target[:, max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] = source
    return found


def inverse_matrix(
    angle: float = 0.0, shear: tuple[float, float] = (0.0, 0.0), center: tuple[float, float] = (0.0, 0.0)
) -> Matrix:
    """The inverse matrix of shear and rotation around `center`. Angles in degrees, lengths in pixels."""
    turn, shear_of_x, shear_of_y = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    a = math.cos(turn - shear_of_y) / math.cos(shear_of_y)
    b = -(a * math.tan(shear_of_x) + math.sin(turn))
    c = math.sin(turn - shear_of_y) / math.cos(shear_of_y)
    d = math.cos(turn) - c * math.tan(shear_of_x)
    x, y = center
    return [d, -b, center[0] - d * x - -b * y, -c, a, center[1] - -c * x - a * y]


def warp(images: Tensor, matrices: Tensor, interpolation: Interpolation = "nearest") -> Tensor:
    """Transform each image with its matrix.

    Args:
        images: uint8 ``[B, 3, H, W]``.
        matrices: ``[B, 6]``, see `Matrix`.
        interpolation: ``"nearest"`` or ``"bilinear"``.
    """
    height, width = images.shape[2:]
    size = torch.tensor([[0.5 * width], [0.5 * height]], device=images.device)
    theta = matrices.to(images.device, torch.float32).view(-1, 2, 3) / size
    columns = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width, device=images.device)
    rows = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height, device=images.device)
    by_column, by_row = theta[:, :, 0, None, None] * columns, theta[:, :, 1, None, None] * rows[:, None]
    grid = (by_column + by_row).add_(theta[:, :, 2, None, None]).permute(0, 2, 3, 1)
    found = F.grid_sample(images.float(), grid, mode=interpolation, padding_mode="zeros", align_corners=False)
    # Via int16, which is faster on a CPU.
    return (found.round_() if interpolation == "bilinear" else found).short().to(torch.uint8)
