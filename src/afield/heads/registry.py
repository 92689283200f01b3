"""The registry of the heads."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from afield.registry import Registry

HEADS: Registry[Callable[..., nn.Module]] = Registry("head")
