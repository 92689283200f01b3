"""Progress on the terminal, and the tables that commands print."""

import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from afield.amounts import duration
from afield.data import parts_of
from afield.deploy.adapt import Adapted
from afield.deploy.forecast import Expected
from afield.labeling.label_file import Row
from afield.records import Estimate, Record, Summary, exclusive
from afield.reporting.learned import in_figures
from afield.runs.callback import Callback, Labeled
from afield.runs.config import ExperimentConfig
from afield.training import EpochReport


class ConsoleCallback(Callback):
    """Prints the data, and shows progress bars of decoding, features, runs and epochs."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self.console = console
        self.progress = progress
        self.tasks: dict[str, Any] = {}

    def start(self, setup: ExperimentConfig) -> None:
        """Print the data, the held-out parts, and warnings of leakage."""
        data, backbone, parts = setup.data, setup.backbone, parts_of(setup.data)
        self.console.print(data.describe(), highlight=False, markup=False)
        how = "each domain" if data.has_domains else "the given test set" if parts == ("test",) else "each of 5 folds"
        self.console.print(f"  held out in turn: {how}; backbone {backbone.name}, weights {backbone.weights}")
        for line in data.leaks():
            self.console.print(f"[yellow]warning:[/] {escape(line)}")

    def forecast(self, runs: int, seconds: float) -> None:
        """Print the number of runs and their estimated time."""
        self.console.print(f"{runs} runs, about {duration(seconds)} of training one after the other", highlight=False)

    def decode(self, done: int, total: int) -> None:
        """Show the number of decoded images. A total of 0 means that the total is unknown."""
        self._show("decoding images", done, total)

    def features(self, done: int, total: int) -> None:
        """Show the number of images with extracted features."""
        self._show("extracting features", done, total)

    def run(self, index: int, total: int, run: Labeled) -> None:
        """Show the start of a run."""
        self._show("runs", index, total, run.label)

    def epoch(self, report: EpochReport) -> None:
        """Show the results of an epoch."""
        accuracy, rate = 100 * report.validation_accuracy, report.images_per_second
        detail = f"loss {report.train_loss:.3f}, validation {accuracy:.1f} %, {rate:,.0f} images/s"
        self._show("epochs", report.epoch, report.epochs, detail)

    def learning(self, epoch: int, epochs: int, detail: str) -> None:
        """Show the results of an epoch of learning an augmentation."""
        self._show("learning the augmentation", epoch, epochs, detail)

    def trial(self, done: int, total: int, loss: float) -> None:
        """Show the result of a trial."""
        self._show("trials", done, total, f"loss {loss:.3f}")

    def _show(self, name: str, done: int, total: int, detail: str = "") -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total or None, detail="")
        self.progress.update(self.tasks[name], completed=done, total=total or None, detail=detail)


@contextmanager
def watching() -> Iterator[ConsoleCallback]:
    """Show progress on standard error during a ``with`` block. Bars are shown only on a terminal."""
    console = Console(stderr=True, quiet=_is_secondary_process())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield ConsoleCallback(console, progress)


def held(out: Path) -> AbstractContextManager[None]:
    """Lock the run folder during a ``with`` block, in the first of several processes."""
    return nullcontext() if _is_secondary_process() else exclusive(out)


def comparison_table(summary: Summary) -> Table:
    """The table of a summary, with a row for each recipe.

    The columns are the unseen domains, their average, the gain over erm, and, if augmentations were learned, the
    duration of learning them in seconds.
    """
    recipes = summary.recipes
    first = next(iter(recipes.values()))
    rule = "ORACLE, an upper bound" if summary.selection == "oracle" else f"selection: {summary.selection}"
    count = len(summary.seeds)
    title = f"{summary.data}: accuracy on unseen domains, %, mean [95 % interval], n = {count} ({rule})"
    searched = any(row.search_s is not None for row in recipes.values())
    table = Table("recipe", title=escape(title), caption=summary.protocol)
    for name in (*first.domains, "average", "vs erm, paired", *(["search, s"] if searched else [])):
        table.add_column(escape(name), justify="right")
    for name, row in recipes.items():
        mark = "[bold]" if name == summary.recommended else ""
        cells = [interval(value) for value in (*row.domains.values(), row.average)]
        cells.append(interval(row.vs_erm, sign="+") if row.vs_erm else "")
        if searched:
            cells.append(f"{row.search_s:.1f}" if row.search_s is not None else "–")
        table.add_row(f"{mark}{escape(name)}", *map(escape, cells))
    return table


def learned_lines(record: Record) -> list[str]:
    """The results of a run with a learned augmentation: accuracy, measures of the augmentor, and collapses."""
    best, learned = max(epoch.validation["accuracy"] for epoch in record.epochs), record.learned
    assert learned is not None
    figures = in_figures([learned.measures])
    return [
        f"{record.recipe}: validation accuracy {100 * best:.1f} %; {learned.search_s:.1f} s of search",
        f"on validation images: {', '.join(f'{title} {figure}' for title, figure in figures.items())}",
        *(f"collapsed ({name}): {text}" for name, text in learned.collapses.items()),
    ]


def plan_text(plan: dict[str, Any]) -> str:
    """The output of a dry run: a line for each run, the number of remaining runs, and their estimated time."""
    runs = plan["runs"]
    left = sum(run["state"] != "done" for run in runs)
    lines = [f"{run['state']:6} {run['run']} {run['label']}" for run in runs]
    lines.append(f"{left} of {len(runs)} runs are left" + (f", about {duration(plan['run_s'])} each" if left else ""))
    if plan["features_s"]:
        lines.append(f"features of the frozen backbone: about {duration(plan['features_s'])}, once")
    if left:
        where = "on this machine" + (f", {plan['at_once']} at a time" if plan["at_once"] > 1 else "")
        lines.append(f"total: about {duration(plan['total_s'])} {where}; estimated from {plan['source']}")
    return "\n".join(lines)


def evaluation_table(result: dict[str, Any]) -> Table:
    """A table of accuracy and mAP by domain. Metrics with test-time augmentation have separate columns."""
    kinds = {"": result, **({f", tta {result['tta']['kind']}": result["tta"]} if "tta" in result else {})}
    table = Table("domain", title=escape(result["data"]))
    for name in ("images", *(f"{metric}{kind}, %" for kind in kinds for metric in ("accuracy", "mAP"))):
        table.add_column(name, justify="right")
    lines = [(*found["domains"].items(), ("all", found["all"])) for found in kinds.values()]
    for line in zip(*lines, strict=True):
        name, counted = line[0]
        cells = [f"{100 * row[metric]:.2f}" for _, row in line for metric in ("accuracy", "map")]
        table.add_row(escape(name), f"{counted['n']:,}", *cells)
    return table


def adapted_lines(adapted: Adapted) -> list[str]:
    """The adaptation method with its reason, and the effect of labels, as text."""
    done = "not adapted" if adapted.method == "none" else f"adapted by {adapted.method}"
    lines = [f"{done}, {adapted.images:,} images: {adapted.reason}"]
    if adapted.labels:
        fitted = "head refitted to" if adapted.tune == "head" else "whole network fine-tuned on"
        lines.append(f"{fitted} {adapted.labels:,} labels{_gain(adapted)}")
    return lines


def _gain(adapted: Adapted) -> str:
    """The accuracy on the audit sample before and after."""
    if adapted.before is None or adapted.after is None:
        return "; no labels of an audit sample measure it"
    before, after = (interval(Estimate(f.value, None, f.n, f.ci95)) for f in (adapted.before, adapted.after))
    return f"; accuracy on {adapted.after.n:,} audit images, % [95 % interval]: {before} before, {after} after"


def expected_json(expected: Expected) -> dict[str, Any]:
    """The forecast, JSON-serializable."""
    return {**dataclasses.asdict(expected), "unusual": [str(path) for path in expected.unusual]}


def audit_table(result: dict[str, Any]) -> Table:
    """A table of the metrics on an audit sample, with intervals and the number of labels needed to halve them."""
    count = result["accuracy"]["n"]
    none = f"; {result['none_of_these']} more show none of the classes" if result["none_of_these"] else ""
    table = Table(title=escape(f"{result['data']}: audit sample of {count} images, % [95 % interval]{none}"))
    for column in ("measure", "value", "images"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    measures = {"accuracy": result["accuracy"], "balanced accuracy": result["balanced_accuracy"]}
    for name, found in {**measures, **{f"recall of {name}": each for name, each in result["recall"].items()}}.items():
        shown = interval(Estimate(found["value"], None, found["n"], tuple(found["ci95"])))
        table.add_row(escape(name), escape(shown), f"{found['n']:,}")
    table.caption = f"{result['to_halve']:,} more audit labels would halve the interval of the accuracy"
    return table


def label_text(rows: Sequence[Row], file: Path) -> str:
    """The number of labels in a label file, as text."""
    counts = [
        f"{sum(bool(row.label) for row in part)} of {len(part)} {purpose} images"
        for purpose in ("audit", "chosen")
        for part in [[row for row in rows if row.purpose == purpose]]
    ]
    return f"{file}: labels for {' and '.join(counts)}"


def entries_table(kind: str, entries: list[tuple[str, str, str]]) -> Table:
    """A table of the entries of a registry."""
    table = Table(title=kind, title_justify="left", show_header=False, box=None)
    for name, summary, reference in entries:
        table.add_row(f"[bold]{name}", summary, f"[dim]{reference}")
    return table


def interval(value: Estimate, sign: str = "") -> str:
    """A mean and its interval in percent, as text: ``71.9 [70.2, 73.6]``."""
    mean = f"{100 * value.mean:{sign}.1f}"
    if value.ci95 is None:
        return mean
    low, high = value.ci95
    return f"{mean} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def output() -> Console:
    """The console of standard output, with the width of the terminal, or 160 characters without a terminal."""
    return Console(width=None if sys.stdout.isatty() else 160, highlight=False, quiet=_is_secondary_process())


def _is_secondary_process() -> bool:
    """Whether this is not the first of several processes."""
    return os.environ.get("LOCAL_RANK", "0") != "0" or os.environ.get("NODE_RANK", "0") != "0"
