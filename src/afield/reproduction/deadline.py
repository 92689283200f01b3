"""A time budget: a callback that ends the work when its time is over. Interrupted runs continue from checkpoints."""

from __future__ import annotations

import time

from afield.runs.callback import Callback, Labeled
from afield.training import EpochReport


class OutOfTimeError(Exception):
    """The time budget is over."""


class Deadline(Callback):
    """Forwards to another callback, and raises `OutOfTimeError` when `seconds` have passed since it was made.

    It does so between runs and after epochs; at most the last 20 seconds of training are repeated later.
    """

    def __init__(self, inner: Callback, seconds: float) -> None:
        self.inner = inner
        self.until = time.monotonic() + seconds

    def check(self) -> None:
        """Raise `OutOfTimeError` if the time is over."""
        if time.monotonic() >= self.until:
            raise OutOfTimeError

    def forecast(self, runs: int, seconds: float) -> None:
        """An estimate of the work that is left."""
        self.inner.forecast(runs, seconds)

    def decode(self, done: int, total: int) -> None:
        """Images decoded so far."""
        self.inner.decode(done, total)
        self.check()

    def features(self, done: int, total: int) -> None:
        """Images whose features are extracted so far."""
        self.inner.features(done, total)
        self.check()

    def run(self, index: int, total: int, run: Labeled) -> None:
        """A run begins."""
        self.inner.run(index, total, run)
        self.check()

    def epoch(self, report: EpochReport) -> None:
        """An epoch ended."""
        self.inner.epoch(report)
        self.check()

    def learning(self, epoch: int, epochs: int, detail: str) -> None:
        """An epoch of learning an augmentation ended."""
        self.inner.learning(epoch, epochs, detail)
        self.check()
