"""Who is told of progress. This one tells nobody; the console's shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from afield.training import EpochReport

if TYPE_CHECKING:
    from afield.runs.config import ExperimentConfig


class Labeled(Protocol):
    """A run, or another piece of work."""

    @property
    def label(self) -> str:
        """Names it for people."""
        ...


class Callback:
    """Each method is called when something has happened."""

    def start(self, setup: ExperimentConfig) -> None:
        """The data are loaded and the settings checked."""

    def decode(self, done: int, total: int) -> None:
        """So many images are decoded."""

    def features(self, done: int, total: int) -> None:
        """Of so many images the features are extracted."""

    def run(self, index: int, total: int, run: Labeled) -> None:
        """The run of this index begins."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch has ended."""

    def learning(self, epoch: int, epochs: int, detail: str) -> None:
        """An epoch of learning an augmentation has ended."""

    def trial(self, done: int, total: int, loss: float) -> None:
        """So many trials of a search are done; the last one came to this loss."""


SILENT = Callback()
