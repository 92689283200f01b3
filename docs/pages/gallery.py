"""The reports of the gallery, written again from committed records."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import afield
from pages.tables import ROOT

REPORTS = {"gallery/comparison.html": "pacs-algorithms-frozen", "gallery/reproduction.html": "reproduce-combined"}
"""Page, and the folder of its records under ``results/``."""


def report_pages() -> dict[str, str]:
    """The HTML of each report."""
    return {name: report_page(ROOT / "results" / study) for name, study in REPORTS.items()}


def report_page(records: Path) -> str:
    """The report of a folder of records, which stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(records, Path(folder) / records.name)
        return afield.report(copy).read_text(encoding="utf-8")
