"""A time budget: a callback that stops the work when the time is over. Interrupted runs continue from checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from afield.runs.callback import Callback


class OutOfTimeError(Exception):
    """The time budget is over."""


def _then_check(report: str) -> Callable[..., None]:
    """Create a callback method with this name that forwards its arguments and then checks the time."""

    def forward(deadline: Deadline, *details: Any) -> None:
        getattr(deadline.inner, report)(*details)
        deadline.check()

    return forward


class Deadline(Callback):
    """Forwards to another callback, and raises `OutOfTimeError` if `seconds` have passed since its creation.

    The time is checked between runs and after epochs. At most the last 20 seconds of training are repeated later.
    """

    def __init__(self, inner: Callback, seconds: float) -> None:
        self.inner = inner
        self.until = time.monotonic() + seconds

    def check(self) -> None:
        """Raise `OutOfTimeError` if the time is over."""
        if time.monotonic() >= self.until:
            raise OutOfTimeError

    def forecast(self, runs: int, seconds: float, features_s: float = 0.0) -> None:
        """Forward the estimate of the remaining work."""
        self.inner.forecast(runs, seconds, features_s)

    decode, features, run, epoch, learning = map(_then_check, ("decode", "features", "run", "epoch", "learning"))
