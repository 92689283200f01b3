"""``afield report`` and ``afield list``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from afield.errors import InputError


@dataclass(frozen=True)
class Report:
    """Rebuild the HTML page of a comparison, of a sweep or of a reproduction from its records.

    Attributes:
        run_folder: Folder that `afield compare`, `afield sweep` or `afield reproduce` wrote.
        metric: Metric for the selection, the table and the recommendation: a name from `afield list metrics`; by
            default that of the comparison.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield report runs/compare-photos",)

    run_folder: Annotated[Path, tyro.conf.Positional]
    metric: str | None = None

    def run(self) -> Path:
        """The path of ``report.html``."""
        folder = Path(self.run_folder)
        try:
            return _page(folder, self.metric)
        except (InputError, OSError):
            raise
        except Exception as error:  # the files are valid, but not from the same comparison: any step may fail
            raise InputError(f"the files of {folder} do not fit together ({type(error).__name__}: {error})") from error


def _page(folder: Path, metric: str | None) -> Path:
    from afield.comparison.summary import select, summarize
    from afield.comparison.sweep.page import render_sweep
    from afield.comparison.sweep.summary import SUMMARY
    from afield.evaluation import METRICS
    from afield.records import read_compared, read_json, read_records, read_summary
    from afield.reporting import render

    if (folder / SUMMARY).exists():
        if metric is not None:
            raise InputError(f"--metric is for comparisons, and {folder} contains a sweep")
        return render_sweep(folder)
    summary = read_json(folder / "summary.json")
    if isinstance(summary, dict) and "budgets" in summary:
        from afield.comparison.labeling.report import render_labeling

        return render_labeling(folder)
    if not isinstance(summary, dict) or "paper" not in summary:
        if metric is None:
            return render(folder)
        METRICS.entry(metric)
        before = read_summary(folder / "summary.json")
        if before.selection == "leave_one_out_validation":
            raise InputError(f"--metric needs the runs with two domains held out, which {folder} does not contain")
        selected = select(read_compared(folder), before.selection, metric)
        summary = summarize(selected, before.data, before.selection, metric, before.protocol, before.baseline)
        return render(folder, (selected, summary))
    if metric is not None:
        raise InputError(f"--metric is for comparisons, and {folder} contains a reproduction")
    from afield.reproduction import PAPERS
    from afield.reproduction.paper import document

    return document(PAPERS[summary["paper"]], read_records(folder), summary).write(folder)


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
