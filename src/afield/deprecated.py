"""Deprecated public names, which work for one more version with a `DeprecationWarning`. Does not import torch."""

import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

PRINTING = (
    *("comparison_table", "sweep_table", "sweep_lines", "labeling_table", "trained_lines", "learned_lines"),
    *("plan_text", "evaluation_tables", "evaluation_table", "written_lines", "exported_lines", "adapted_lines"),
    *("expected_json", "audit_table", "label_text", "entries_table", "interval"),
)
"""Names that moved from `afield.console` to `afield.printing`."""

RENAMED = {
    "option": {"protocol": "preset"},
    "kind": {"protocols": "presets"},
    "recipe": {"subcentre_arcface": "subcenter_arcface"},
    "head": {"subcentre_arcface": "subcenter_arcface"},
    "setting": {"recognised": "recognized"},
    "afield.console": {name: f"afield.printing.{name}" for name in PRINTING},
    "afield.heads": {"SubCentreArcFaceHead": "SubCenterArcFaceHead"},
    "afield.training": {
        "PROTOCOLS": "PRESETS",
        "Parts": "Splits",
        "Progress": "TrainState",
        "Source": "Subset",
        "Training": "TrainConfig",
    },
}
"""New names by old names, by kind: options, entries of a registry, or attributes of a module, or of another module."""


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
        where, _, new = current(module, name).rpartition(".")
        return getattr(import_module(where or module), new)

    return find
