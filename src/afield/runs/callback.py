"""The interface for progress reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from afield.training import EpochReport

if TYPE_CHECKING:
    from afield.runs.config import ExperimentConfig


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

    def learning(self, epoch: int, epochs: int, detail: str) -> None:
        """Called at the end of an epoch of learning an augmentation."""

    def trial(self, done: int, total: int, loss: float) -> None:
        """Called when `done` of `total` search trials are finished, with the loss of the last one."""


SILENT = Callback()
