"""Progress and output on the terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from afield.amounts import duration
from afield.data.leaks import leaks
from afield.deprecated import renamed_attributes
from afield.names import shown
from afield.records import exclusive
from afield.runs.callback import Callback, Labeled

if TYPE_CHECKING:
    from afield.runs.config import ExperimentConfig
    from afield.training import EpochReport
else:
    __getattr__ = renamed_attributes(__name__)

LINE_SECONDS = 10.0
"""Time between two lines of progress in a log file or a pipe."""


class ConsoleCallback(Callback):
    """Prints the data, and shows the progress of decoding, features, predictions, runs and epochs.

    On a terminal, progress is shown by bars; otherwise by a line every `LINE_SECONDS`.
    """

    def __init__(self, console: Console, progress: Progress) -> None:
        self.console = console
        self.progress = progress
        self.tasks: dict[str, Any] = {}
        self.last_line = time.monotonic()

    def start(self, setup: ExperimentConfig, purpose: str) -> None:
        """Print the data, the purpose, the backbone, and warnings of leakage."""
        data, backbone = setup.data, setup.backbone
        self.console.print(data.describe(), highlight=False, markup=False)
        stage = None if setup.partial is None else setup.partial.stage
        how = setup.why_backbone or ("frozen" if setup.freeze else f"trained from {stage}" if stage else "trained")
        how = shown(f"  {purpose}; backbone {backbone.name}, weights {backbone.weights}, {how}")
        self.console.print(how, highlight=False, markup=False, soft_wrap=True)
        for line in leaks(data):
            self.console.print(f"[yellow]warning:[/] {escape(line)}")

    def forecast(self, runs: int, seconds: float, features_s: float = 0.0) -> None:
        """Print the estimated time of the features and of the runs."""
        each = f"{runs} runs, " if runs > 1 else ""
        line = f"{each}about {duration(seconds)} of training{' one after the other' if runs > 1 else ''}"
        if features_s:
            line = f"features of the frozen backbone: about {duration(features_s)}, once; then {line}"
        self.console.print(line, highlight=False)

    def decode(self, done: int, total: int) -> None:
        """Show the number of decoded images. A total of 0 means that the total is unknown."""
        self._show("decoding images", done, total)

    def features(self, done: int, total: int) -> None:
        """Show the number of images with extracted features."""
        self._show("extracting features", done, total)

    def predict(self, done: int, total: int) -> None:
        """Show the number of predicted images."""
        self._show("predicting images", done, total)

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
        if not self.console.is_terminal and (now := time.monotonic()) >= self.last_line + LINE_SECONDS:
            self.last_line = now
            line = f"{name}: {done:,}" + (f" of {total:,}" if total else "") + (f", {detail}" if detail else "")
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def watching() -> Iterator[ConsoleCallback]:
    """Show progress on standard error during a ``with`` block."""
    console = Console(stderr=True, quiet=_is_secondary_process())
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield ConsoleCallback(console, progress)


def held(out: Path) -> AbstractContextManager[None]:
    """Lock the run folder during a ``with`` block, in the first of several processes."""
    return nullcontext() if _is_secondary_process() else exclusive(out)


class _Output(Console):
    """A console that leaves a closed pipe to the caller."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def output() -> Console:
    """The console of standard output, with the width of the terminal, or 160 characters without a terminal."""
    return _Output(width=None if sys.stdout.isatty() else 160, highlight=False, quiet=_is_secondary_process())


def say(text: str) -> None:
    """Print text on standard output as it is written: without markup, with control characters escaped."""
    output().print("\n".join(map(shown, text.split("\n"))), soft_wrap=True, markup=False)


def _is_secondary_process() -> bool:
    """Whether this is not the first of several processes."""
    return os.environ.get("LOCAL_RANK", "0") != "0" or os.environ.get("NODE_RANK", "0") != "0"
