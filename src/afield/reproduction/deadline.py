"""A time budget: a callback that ends the work when its time is over. Interrupted runs continue from checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from afield.runs.callback import Callback


class OutOfTimeError(Exception):
    """The time budget is over."""


def _then_check(report: str) -> Callable[..., None]:
    """The report of a callback of this name: forwarded, and then the time is checked."""

    def forward(deadline: Deadline, *details: Any) -> None:
        getattr(deadline.inner, report)(*details)
        deadline.check()

    return forward


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

    decode, features, run, epoch, learning = map(_then_check, ("decode", "features", "run", "epoch", "learning"))
