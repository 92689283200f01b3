"""Functions of the angle of a cosine, finite at +1 and -1, and the straight-through gradient."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from afield.validation import check_within

Gradient = Literal["straight_through", "exact"]

SIN_FLOOR = 1e-6
"""Lower bound of ``1 - cos^2`` for the derivative. It keeps the exact gradient below 1000 at the poles."""


def check_gradient(gradient: str) -> None:
    """Raise `ValueError` if `gradient` is neither ``"straight_through"`` nor ``"exact"``."""
    if gradient not in ("straight_through", "exact"):
        raise ValueError(f'gradient must be "straight_through" or "exact", got {gradient!r}')


def check_margins(*, margin_multiplier: float = 1.0, margin_rad: float = 0.0, margin_cos: float = 0.0) -> None:
    """Raise `ValueError` if a margin is outside its range."""
    check_within("[1, inf)", margin_multiplier=margin_multiplier)
    if not 0 <= margin_rad <= math.pi:
        raise ValueError(f"margin_rad must lie in [0, pi], got {margin_rad!r}")
    check_within("[0, 2]", margin_cos=margin_cos)


def sine(cosine: Tensor) -> Tensor:
    """``sin(theta)`` for ``theta`` in [0, pi], computed without ``acos``. `SIN_FLOOR` bounds only its slope."""
    square = 1 - cosine.square()
    bounded = square.clamp(min=SIN_FLOOR).sqrt()
    return bounded + (square.detach().clamp(min=0).sqrt() - bounded.detach())


def apply_gradient(margin: Callable[[Tensor], Tensor], cosine: Tensor, gradient: Gradient) -> Tensor:
    """Compute `margin(cosine)` with its exact gradient or with the straight-through gradient (that of `cosine`).

    The exact gradient of an angular margin contains the factor ``sin(theta + m) / sin(theta)``, which is unbounded for
    ``theta -> 0``. The straight-through gradient has the factor 1, as the exact gradient of CosFace does.
    """
    if gradient == "exact":
        return margin(cosine)
    with torch.no_grad():
        shift = margin(cosine) - cosine
    return cosine + shift


def add_angle(cosine: Tensor, margin_rad: float) -> Tensor:
    """``cos(theta + m)`` for ``m`` in [0, pi], continued beyond pi as ``-2 - cos(theta + m)``.

    The result is continuous and decreases on [0, pi]. The usual continuation ``c - m sin m`` is discontinuous at
    ``theta + m = pi``; it jumps by 0.117 for m = 0.5.
    """
    moved = cosine * math.cos(margin_rad) - sine(cosine) * math.sin(margin_rad)
    beyond = cosine < -math.cos(margin_rad)
    return torch.where(beyond, -2 - moved, moved)


def multiply_angle(cosine: Tensor, multiplier: float, margin_rad: float = 0.0) -> Tensor:
    """The monotone form ``psi`` of ``cos(a)`` with ``a = m1 theta + m2``: ``(-1)^k cos(a) - 2k`` on [k pi, (k + 1) pi].

    ``m1 >= 1`` can be any real number. The angle is computed with ``atan2``, whose gradient is finite at both poles
    because the sine has a lower bound.
    """
    angle = multiplier * torch.atan2(sine(cosine), cosine) + margin_rad
    turns = (angle / math.pi).floor().detach()
    sign = 1 - 2 * (turns % 2)
    return sign * angle.cos() - 2 * turns
