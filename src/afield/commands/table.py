"""``afield table``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro


@dataclass(frozen=True)
class Table:
    """Print the table of a comparison for a paper, a page or a spreadsheet.

    Attributes:
        run_folder: Folder that `afield compare` wrote.
        format: Format of the table. csv has one row for each value, not rounded; latex needs the package booktabs.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield table runs/compare-photos --format latex",)

    run_folder: Annotated[Path, tyro.conf.Positional]
    format: Literal["markdown", "latex", "csv"] = "markdown"

    def run(self) -> str:
        """The table as text."""
        from afield.records import read_summary
        from afield.reporting.table import FORMATS

        return FORMATS[self.format](read_summary(Path(self.run_folder) / "summary.json"))
