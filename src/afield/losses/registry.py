"""The registry that every loss joins beside its definition."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from afield.registry import Registry

LOSSES: Registry[Callable[..., Tensor]] = Registry("loss")
