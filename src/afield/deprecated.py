"""Old public names that keep working for one version, each with a `DeprecationWarning`. Free of torch."""

from __future__ import annotations

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
"""New by old name, by what it names: an option, an entry of a registry, or an attribute of a module."""


def current(kind: str, name: str) -> str:
    """The name that stands for `name` today; an old one is warned of."""
    new = RENAMED.get(kind, {}).get(name, name)
    if new != name:
        warnings.warn(f"{kind} {name!r} is deprecated; use {new!r}", DeprecationWarning, stacklevel=3)
    return new


def renamed_attributes(module: str) -> Callable[[str], Any]:
    """A module's ``__getattr__``, which finds attributes by their old names."""

    def find(name: str) -> Any:
        if name not in RENAMED[module]:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        return getattr(sys.modules[module], current(module, name))

    return find
