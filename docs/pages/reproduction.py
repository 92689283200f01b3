"""The papers, table by table."""

from __future__ import annotations

import json

from afield.experiments.papers import PAPERS
from afield.experiments.papers.paper import document
from pages.tables import ROOT


def reproduction_page() -> str:
    """Every committed reproduction of a paper, made anew from its records."""
    sections = [(ROOT / "docs" / "reproduction.md.in").read_text()]
    for name, paper in PAPERS.items():
        folders = sorted(
            path.parent
            for path in (ROOT / "results").glob("reproduce-*/summary.json")
            if json.loads(path.read_text())["paper"] == name
        )
        for folder in folders:
            lines = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
            page = document(paper, lines, json.loads((folder / "summary.json").read_text()))
            sections.append(page.markdown(f"../results/{folder.name}"))
        if not folders:
            sections.append(f"## {paper.title}\n\nNot run yet: `afield reproduce {name} --size small --jobs 2`.\n")
    return "\n".join(sections)
