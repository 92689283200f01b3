"""Deprecated public names, which work for one more version with a `DeprecationWarning`. Does not import torch."""

import sys
import warnings
from collections.abc import Callable
from typing import Any

RENAMED = {
    "option": {"protocol": "preset"},
    "kind": {"protocols": "presets"},
    "recipe": {"subcentre_arcface": "subcenter_arcface"},
    "head": {"subcentre_arcface": "subcenter_arcface"},
    "setting": {"recognised": "recognized"},
    "afield.heads": {"SubCentreArcFaceHead": "SubCenterArcFaceHead"},
    "afield.training": {
        "PROTOCOLS": "PRESETS",
        "Parts": "Splits",
        "Progress": "TrainState",
        "Source": "Subset",
        "Training": "TrainConfig",
    },
}
"""New names by old names, by kind: options, entries of a registry, or attributes of a module."""


def current(kind: str, name: str) -> str:
    """The current name for `name`. Issues a warning if `name` is deprecated."""
    new = RENAMED.get(kind, {}).get(name, name)
    if new != name:
        warnings.warn(f"{kind} {name!r} is deprecated; use {new!r}", DeprecationWarning, stacklevel=3)
    return new


def renamed_attributes(module: str) -> Callable[[str], Any]:
    """Create the ``__getattr__`` of a module, which finds attributes by their old names."""

    def find(name: str) -> Any:
        if name not in RENAMED[module]:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(sys.modules[module], current(module, name))

    return find
