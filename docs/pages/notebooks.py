"""The notebooks of the tutorials: each is a page, whose commands and code are cells."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from pages.tables import ROOT

NOTEBOOKS = ROOT / "examples" / "notebooks"
PAGES = ("tutorials/photos.md", "tutorials/new_place.md", "tutorials/labeling.md", "tutorials/own_loop.md", "tables.md")

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$\n?", re.DOTALL | re.MULTILINE)


def notebooks() -> dict[Path, str]:
    """The text of each notebook."""
    return {NOTEBOOKS / f"{Path(page).stem}.ipynb": notebook(ROOT / "docs" / page) for page in PAGES}


def notebook(page: Path) -> str:
    """A page as a notebook without outputs. Lines of ``sh`` blocks become shell commands."""
    blocks = BLOCK.split(page.read_text(encoding="utf-8"))
    cells = []
    for i in range(0, len(blocks), 3):
        kind, code = blocks[i - 2 : i] if i else ("", "")
        if kind == "sh":
            code = "".join(f"!{line}\n" for line in code.replace("python examples/", "python ../").splitlines())
        cells += [_cell("code", code), _cell("markdown", _linked(blocks[i], page.parent))]
    content = {
        "cells": [{"id": f"cell-{i}", **cell} for i, cell in enumerate(cell for cell in cells if cell["source"])],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _cell(kind: str, text: str) -> dict[str, Any]:
    cell = {"cell_type": kind, "metadata": {}, "source": text.strip("\n").splitlines(keepends=True)}
    return cell | {"execution_count": None, "outputs": []} if kind == "code" else cell


def _linked(text: str, folder: Path) -> str:
    """The text with relative links from the folder of the notebooks."""
    return re.sub(
        r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)",
        lambda found: Path(os.path.relpath(folder / found[1], NOTEBOOKS)).as_posix(),
        text,
    )
