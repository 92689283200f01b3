"""The interface for what reports on training: progress, logs and checkpoints to keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from afield.records import Record
    from afield.runs.config import ExperimentConfig
    from afield.runs.run import Run
    from afield.training import EpochReport


class Labeled(Protocol):
    """An object with a label, such as a run."""

    @property
    def label(self) -> str:
        """A readable name."""
        ...


class Callback:
    """Base class of progress reports. All methods do nothing; subclasses override those that they need."""

    def start(self, setup: ExperimentConfig, purpose: str) -> None:
        """Called when the data are loaded and the settings are checked. The purpose tells what is held out."""

    def forecast(self, runs: int, seconds: float, features_s: float = 0.0) -> None:
        """Called with the number of remaining runs and an estimate of their total duration in seconds.

        `features_s` is the time before them, to extract the features of a frozen backbone.
        """

    def decode(self, done: int, total: int) -> None:
        """Called when `done` of `total` images are decoded."""

    def features(self, done: int, total: int) -> None:
        """Called when the features of `done` of `total` images are extracted."""

    def predict(self, done: int, total: int) -> None:
        """Called when `done` of `total` images are predicted."""

    def run(self, index: int, total: int, run: Labeled) -> None:
        """Called at the start of run `index` of `total`, counted from 0."""

    def epoch(self, report: EpochReport) -> None:
        """Called at the end of an epoch of training."""

    def run_epoch(self, run: Run, folder: Path, report: EpochReport) -> None:
        """Called in one process at the end of an epoch that the record of the run will contain.

        `folder` is that of the run. Earlier epochs are in the report, also if another process trained them.
        """

    def run_end(self, run: Run, folder: Path, record: Record) -> None:
        """Called in one process when a run is finished, also if it was finished before."""

    def learning(self, epoch: int, epochs: int, detail: str) -> None:
        """Called at the end of an epoch of learning an augmentation."""

    def trial(self, done: int, total: int, loss: float) -> None:
        """Called when `done` of `total` search trials are finished, with the loss of the last one."""


def _to_each(report: str) -> Callable[..., None]:
    """Create a callback method with this name that passes its arguments on to each of several callbacks."""

    def forward(together: Together, *details: Any) -> None:
        for callback in together.callbacks:
            getattr(callback, report)(*details)

    return forward


class Together(Callback):
    """Several callbacks as one."""

    def __init__(self, *callbacks: Callback) -> None:
        self.callbacks = callbacks

    start, forecast, decode, features, predict = map(_to_each, ("start", "forecast", "decode", "features", "predict"))
    run, epoch, run_epoch, run_end = map(_to_each, ("run", "epoch", "run_epoch", "run_end"))
    learning, trial = map(_to_each, ("learning", "trial"))


SILENT = Callback()
