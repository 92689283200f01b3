"""``afield report`` and ``afield list``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Report:
    """Rebuild the HTML page of a comparison or of a reproduction from its records.

    Attributes:
        run_folder: Folder that `afield compare` or `afield reproduce` wrote.
    """

    run_folder: Annotated[Path, tyro.conf.Positional]

    def run(self) -> Path:
        """The path of ``report.html``."""
        from afield.records import read_json, read_records
        from afield.reporting import render

        folder = Path(self.run_folder)
        summary = read_json(folder / "summary.json")
        if "paper" not in summary:
            return render(folder)
        from afield.reproduction import PAPERS
        from afield.reproduction.paper import document

        return document(PAPERS[summary["paper"]], read_records(folder), summary).write(folder)


@dataclass(frozen=True)
class List:
    """List recipes, losses, augmentations and other parts, with a summary and a reference.

    Attributes:
        kind: Kind of part to list, such as recipes, losses or backbones; all kinds by default.
    """

    kind: Annotated[str, tyro.conf.Positional] = "all"

    def run(self) -> dict[str, list[tuple[str, str, str]]]:
        """Kind -> (name, summary, reference) of each entry."""
        from afield.catalog import chosen

        return {kind: [(e.name, e.summary, e.reference) for e in each] for kind, each in chosen(self.kind).items()}
