"""The training settings: a row for each, from its definition."""

from __future__ import annotations

from afield.settings import TrainConfig, values_by_preset
from afield.validation import Setting, settings_of
from pages.tables import table


def settings_table() -> str:
    """Option, default by preset, allowed values and description of each training setting."""
    rows = [
        (f"`--{name.replace('_', '-')}`", _defaults(name), _allowed(definition), definition.help)
        for name, definition in settings_of(TrainConfig).items()
    ]
    return table(("setting", "default", "allowed", "what it does"), rows)


def _defaults(name: str) -> str:
    """The default, and the presets that differ from it."""
    return "; ".join(
        f"`{preset}` {value}" if preset else str(value) for preset, value in values_by_preset(name).items()
    )


def _allowed(definition: Setting) -> str:
    if definition.choices:
        return ", ".join(f"`{choice}`" for choice in definition.choices)
    return definition.values or f"{definition.low:,.15g} to {definition.high:,.15g}"
