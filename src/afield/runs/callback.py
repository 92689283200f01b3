"""The interface through which work reports its progress. The base class ignores every report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from afield.training import EpochReport

if TYPE_CHECKING:
    from afield.runs.config import ExperimentConfig


class Labeled(Protocol):
    """A run, or another piece of work."""

    @property
    def label(self) -> str:
        """A name for people to read."""
        ...


class Callback:
    """Methods that are called as work proceeds. Each does nothing here; subclasses override what they show."""

    def start(self, setup: ExperimentConfig) -> None:
        """The data are loaded and the settings are checked."""

    def forecast(self, runs: int, seconds: float) -> None:
        """This many runs are left, and one after the other they will take about this many seconds."""

    def decode(self, done: int, total: int) -> None:
        """`done` of `total` images are decoded."""

    def features(self, done: int, total: int) -> None:
        """The features of `done` of `total` images are extracted."""

    def run(self, index: int, total: int, run: Labeled) -> None:
        """Run number `index` of `total`, counted from 0, begins."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch of training has ended."""

    def learning(self, epoch: int, epochs: int, detail: str) -> None:
        """An epoch of learning an augmentation has ended."""

    def trial(self, done: int, total: int, loss: float) -> None:
        """`done` of `total` trials of a search are finished; the last one had this loss."""


SILENT = Callback()
