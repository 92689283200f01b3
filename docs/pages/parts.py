"""The registries: the names that a recipe or an option can use."""

from __future__ import annotations

from afield.catalog import REGISTRIES
from pages.tables import table


def registry_table(kind: str) -> str:
    """Name, summary and reference of each entry of a registry."""
    rows = [(f"`{entry.name}`", entry.summary, entry.reference) for entry in REGISTRIES[kind]]
    return table(("name", "description", "reference"), rows)


def parts_page() -> str:
    """All registries except that of recipes, which has a page of its own."""
    sections = [f"## {kind.capitalize()}\n\n{registry_table(kind)}" for kind in REGISTRIES if kind != "recipes"]
    head = (
        "# Parts\n\n`docs/make_tables.py` makes this page from the registries; `afield list KIND` prints the same. "
        "Recipes that combine these parts: [recipes.md](recipes.md).\n\n"
    )
    return head + "\n".join(sections)
