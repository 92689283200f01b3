"""The angle behind a cosine: exact forms that stay finite at +1 and -1, and the straight-through gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Gradient = Literal["straight_through", "exact"]

SIN_FLOOR = 1e-6
"""Least ``1 - cos^2`` that is differentiated: the exact gradient then stays below 1000 at the poles."""


def check_gradient(gradient: str) -> None:
    """Raise `ValueError` unless this is one of the two forms."""
    if gradient not in ("straight_through", "exact"):
        raise ValueError(f'gradient must be "straight_through" or "exact", got {gradient!r}')


def check_margins(*, margin_multiplier: float = 1.0, margin_rad: float = 0.0, margin_cos: float = 0.0) -> None:
    """Raise `ValueError` at a margin outside its range."""
    if not 1 <= margin_multiplier < math.inf:
        raise ValueError(f"margin_multiplier must be at least 1, got {margin_multiplier!r}")
    if not 0 <= margin_rad <= math.pi:
        raise ValueError(f"margin_rad must lie in [0, pi], got {margin_rad!r}")
    if not 0 <= margin_cos <= 2:
        raise ValueError(f"margin_cos must lie in [0, 2], got {margin_cos!r}")


def sine(cosine: Tensor) -> Tensor:
    """``sin(theta)`` for ``theta`` in [0, pi], never differentiated through ``acos``; the floor bounds its slope."""
    square = 1 - cosine.square()
    bounded = square.clamp(min=SIN_FLOOR).sqrt()
    return bounded + (square.detach().clamp(min=0).sqrt() - bounded.detach())


def apply_gradient(margin: Callable[[Tensor], Tensor], cosine: Tensor, gradient: Gradient) -> Tensor:
    """`margin(cosine)`, differentiated as it is or, straight through, as if it were `cosine` itself.

    The exact gradient of an angular margin carries the factor ``sin(theta + m) / sin(theta)``, which grows
    without bound as ``theta -> 0``; straight through the factor is 1, as CosFace has it by nature.
    """
    if gradient == "exact":
        return margin(cosine)
    with torch.no_grad():
        shift = margin(cosine) - cosine
    return cosine + shift


def add_angle(cosine: Tensor, margin_rad: float) -> Tensor:
    """``cos(theta + m)``, continued beyond pi as ``-2 - cos(theta + m)``: continuous and falling on [0, pi].

    For ``m`` in [0, pi]. The usual continuation ``c - m sin m`` jumps where ``theta + m`` passes pi, by 0.117
    for m = 0.5.
    """
    moved = cosine * math.cos(margin_rad) - sine(cosine) * math.sin(margin_rad)
    beyond = cosine < -math.cos(margin_rad)
    return torch.where(beyond, -2 - moved, moved)


def multiply_angle(cosine: Tensor, multiplier: float, margin_rad: float = 0.0) -> Tensor:
    """``psi``: ``cos(a)`` with ``a = m1 theta + m2``, made monotone: ``(-1)^k cos(a) - 2k`` from ``a = k pi`` on.

    Any real ``m1 >= 1``, not whole numbers only. The angle comes from ``atan2``, whose gradient is finite at
    both poles because the sine is held above a floor.
    """
    angle = multiplier * torch.atan2(sine(cosine), cosine) + margin_rad
    turns = (angle / math.pi).floor().detach()
    sign = 1 - 2 * (turns % 2)
    return sign * angle.cos() - 2 * turns
