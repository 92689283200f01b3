"""Rendering of the templates in this folder, with escaping of all values and errors for undefined ones."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from afield.records import write_atomic


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Render a template and write the page; returns its path."""
    write_atomic(path, templates().get_template(template).render(values) + "\n")
    return path


@cache
def templates() -> Environment:
    """The template environment, with filters for fractions: ``percent`` (``12.5``) and ``points`` (``+12.5``)."""
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
