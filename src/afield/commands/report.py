"""``afield report``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from afield.errors import InputError, unknown_name

if TYPE_CHECKING:
    from afield.records import Summary


@dataclass(frozen=True)
class Report:
    """Rebuild the HTML page of a comparison, a sweep or a reproduction from its records, or join several comparisons.

    With several folders or selection rules, the page shows the rules side by side for each data set. With several data
    sets, it has Wilcoxon's, Friedman's and Nemenyi's tests over them.

    Attributes:
        run_folder: Folder that `afield compare`, `afield sweep` or `afield reproduce` wrote.
        others: Folders of further comparisons to join.
        selection: Rules that select the epoch of each run: names from `afield list selections`; by default that of the
            comparison.
        metric: Metric for the selection, the table and the recommendation: a name from `afield list metrics`; by
            default that of the comparison.
        baseline: Recipe that the others are compared with; by default that of the comparison.
        out: Folder of the page of several comparisons or rules; by default a folder under runs/.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield report runs/compare-photos",
        "afield report runs/compare-photos --selection last oracle --metric balanced_accuracy",
        "afield report runs/compare-photos runs/compare-pets --baseline erm --out runs/both",
    )

    run_folder: Annotated[Path, tyro.conf.Positional]
    others: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    selection: tuple[str, ...] = ()
    metric: str | None = None
    baseline: str | None = None
    out: Path | None = None

    def run(self) -> Path:
        """The path of ``report.html``."""
        from afield.evaluation import METRICS, SELECTIONS

        for rule in self.selection:
            SELECTIONS.entry(rule)
        if self.metric is not None:
            METRICS.entry(self.metric)
        folder = Path(self.run_folder)
        joins = bool(self.others) or len(self.selection) > 1
        if self.out is not None and not joins:
            raise InputError("--out is for several comparisons or selection rules")
        try:
            return _joined_page(self, folder) if joins else _page(self, folder)
        except (InputError, OSError):
            raise
        except Exception as error:  # the files are valid, but not from the same comparison: any step may fail
            raise InputError(f"the files of {folder} do not fit together ({type(error).__name__}: {error})") from error


def _joined_page(options: Report, folder: Path) -> Path:
    from afield.comparison.join import join, shared_recipes, summaries
    from afield.records import read_summary
    from afield.reporting.joined import document

    folders = list(dict.fromkeys((folder, *map(Path, options.others))))
    before = read_summary(folder / "summary.json")
    joined = join(folders)
    baseline = _baseline(options, before, {record.recipe for each in joined for record in each.records})
    rules = list(dict.fromkeys(options.selection)) or [before.selection]
    found = summaries(joined, rules, options.metric or before.metric, baseline)
    records = [record for each in joined for record in each.records]
    left_out = {each.name: each.left_out for each in joined}
    out = Path("runs") / "-".join(["report", *(each.name for each in folders)]) if options.out is None else options.out
    return document(found, records, shared_recipes(joined), left_out).write(Path(out))


def _baseline(options: Report, before: Summary, recipes: Iterable[str]) -> str:
    """The baseline, by default that of the comparison. Raises `InputError` if a given name is none of the recipes."""
    if options.baseline is None:
        return before.baseline
    if options.baseline not in recipes:
        unknown_name("recipe in --baseline:", options.baseline, recipes)
    return options.baseline


def _page(options: Report, folder: Path) -> Path:
    from afield.comparison.summary import select, summarize
    from afield.comparison.sweep import SUMMARY
    from afield.records import read_compared, read_json, read_records, read_summary
    from afield.reporting import render

    if (folder / SUMMARY).exists():
        if options.metric or options.selection or options.baseline:
            raise InputError(f"--metric, --selection and --baseline are for comparisons; {folder} contains a sweep")
        from afield.comparison.sweep.page import render_sweep  # imports torch, which other pages need not

        return render_sweep(folder)
    summary = read_json(folder / "summary.json")
    if isinstance(summary, dict) and "budgets" in summary:
        from afield.comparison.labeling.report import render_labeling

        return render_labeling(folder)
    if not isinstance(summary, dict) or "paper" not in summary:
        if not (options.metric or options.selection or options.baseline):
            return render(folder)
        before = read_summary(folder / "summary.json")
        rule, metric = next(iter(options.selection), before.selection), options.metric or before.metric
        if rule == "leave_one_out_validation":
            raise InputError(f"{rule} needs the runs with two domains held out, which {folder} does not contain")
        baseline = _baseline(options, before, before.recipes)
        selected = select(read_compared(folder), rule, metric)
        return render(folder, (selected, summarize(selected, before.data, rule, metric, before.protocol, baseline)))
    if options.metric or options.selection or options.baseline:
        raise InputError(f"--metric, --selection and --baseline are for comparisons; {folder} contains a reproduction")
    from afield.reproduction import PAPERS
    from afield.reproduction.paper import document

    return document(PAPERS[summary["paper"]], read_records(folder), summary).write(folder)
