"""The reproductions of the papers."""

from __future__ import annotations

from afield.records import read_json, read_records
from afield.reproduction import PAPERS
from afield.reproduction.paper import document
from pages.tables import ROOT


def reproduction_page() -> str:
    """Every committed reproduction of a paper, made from its records."""
    sections = [(ROOT / "docs" / "reproduction.md.in").read_text()]
    for name, paper in PAPERS.items():
        folders = sorted(
            path.parent
            for path in (ROOT / "results").glob("reproduce-*/summary.json")
            if read_json(path)["paper"] == name
        )
        for folder in folders:
            page = document(paper, read_records(folder), read_json(folder / "summary.json"))
            sections.append(page.markdown(f"../results/{folder.name}"))
        if not folders:
            sections.append(f"## {paper.title}\n\nNot run yet: `afield reproduce {name} --size small --jobs 2`.\n")
    return "\n".join(sections)
