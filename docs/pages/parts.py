"""The registries: what can be named in a recipe."""

from __future__ import annotations

from afield.catalog import REGISTRIES
from pages.tables import table


def registry_table(kind: str) -> str:
    """Name, summary and reference of each entry of a registry."""
    rows = [(f"`{entry.name}`", entry.summary, entry.reference) for entry in REGISTRIES[kind]]
    return table(("name", "what it is", "reference"), rows)


def parts_page() -> str:
    """All registries but that of recipes, which README has."""
    sections = [f"## {kind.capitalize()}\n\n{registry_table(kind)}" for kind in REGISTRIES if kind != "recipes"]
    return "# Parts\n\nMade by `docs/make_tables.py` from the registries.\n\n" + "\n".join(sections)
