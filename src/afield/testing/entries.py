"""Checks of entries of registries: name, summary and reference."""

from afield.registry import Entry


def check_entry(entry: Entry) -> None:
    """The name is in lower case, and the summary is one short sentence; a reference names its source."""
    assert entry.name.replace("_", "").isalnum(), entry.name
    assert entry.name == entry.name.lower()
    assert 10 <= len(entry.summary) <= 100, entry.summary
    assert "\n" not in entry.summary
    assert entry.summary.endswith("."), entry.summary
    assert entry.reference == "-" or len(entry.reference) >= 10, entry.reference


def check_named_in_paper(entry: Entry) -> None:
    """The entry names its paper."""
    assert entry.reference != "-", f"{entry.name} has no reference"
