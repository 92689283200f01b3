"""``afield report`` and ``afield list``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from afield.errors import InputError


@dataclass(frozen=True)
class Report:
    """Rebuild the HTML page of a comparison or of a reproduction from its records.

    Attributes:
        run_folder: Folder that `afield compare` or `afield reproduce` wrote.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield report runs/compare-photos",)

    run_folder: Annotated[Path, tyro.conf.Positional]

    def run(self) -> Path:
        """The path of ``report.html``."""
        folder = Path(self.run_folder)
        try:
            return _page(folder)
        except (InputError, OSError):
            raise
        except Exception as error:  # the files are valid, but not from the same comparison: any step may fail
            raise InputError(f"the files of {folder} do not fit together ({type(error).__name__}: {error})") from error


def _page(folder: Path) -> Path:
    from afield.records import read_json, read_records
    from afield.reporting import render

    summary = read_json(folder / "summary.json")
    if not isinstance(summary, dict) or "paper" not in summary:
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

    examples: ClassVar[tuple[str, ...]] = ("afield list recipes", "afield list")

    kind: Annotated[str, tyro.conf.Positional] = "all"

    def run(self) -> dict[str, list[tuple[str, str, str]]]:
        """Kind -> (name, summary, reference) of each entry."""
        from afield.catalog import chosen

        return {kind: [(e.name, e.summary, e.reference) for e in each] for kind, each in chosen(self.kind).items()}
