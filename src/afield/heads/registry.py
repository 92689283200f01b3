"""The registry of the heads."""

from collections.abc import Callable

from torch import nn

from afield.registry import Registry

HEADS: Registry[Callable[..., nn.Module]] = Registry("head", group="afield.heads")
