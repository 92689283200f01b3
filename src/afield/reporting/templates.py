"""How pages are filled: templates of this folder, everything escaped, nothing left undefined."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


@cache
def templates() -> Environment:
    """The templates, with the filters ``percent`` (``12.5``) and ``points`` (``+12.5``), both of fractions."""
    environment = Environment(
        loader=PackageLoader("afield.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda fraction: f"{100 * fraction:.1f}".replace("-", "−")
    environment.filters["points"] = lambda fraction: f"{100 * fraction:+.1f}".replace("-", "−")
    return environment
