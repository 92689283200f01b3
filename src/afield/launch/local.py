"""Runs on this machine, side by side with any number of processes that work on the same folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning_fabric import Fabric

from afield.records import HeldError, Record, exclusive
from afield.runs.callback import SILENT, Callback
from afield.runs.config import choose_threads
from afield.runs.execute import execute
from afield.runs.features import frozen_features
from afield.runs.run import Run

Launch = Callable[[Sequence[Run]], Iterator[tuple[Run, Record]]]
"""Sees to it that the folder of every run is finished, and yields each with its record, in any order."""

WAIT_SECONDS = 0.2
"""Time between two attempts at runs that other processes are executing."""


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """PyTorch uses this many CPU threads for as long as the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Executor:
    """Where runs are written, and with what they are executed.

    Attributes:
        out: the folder whose ``runs/`` has a folder for each run.
        make_fabric: from a precision to the fabric of that precision.
        threads: CPU threads for each run; None chooses them by the run's setup (`choose_threads`).
        callback: told of progress.
    """

    out: Path
    make_fabric: Callable[[str], Fabric]
    threads: int | None = None
    callback: Callback = SILENT

    def folder(self, run: Run) -> Path:
        """The folder of a run."""
        return self.out / "runs" / run.hash

    def fabric(self, run: Run) -> Fabric:
        """Device, precision and processes of a run."""
        return self.make_fabric(run.training.precision)

    def threads_of(self, run: Run) -> int:
        """CPU threads of a run. Whoever executes it uses this number, because it changes the rounding of the result."""
        return choose_threads(run.setup, self.threads)

    def execute(self, run: Run) -> Record:
        """Execute a run unless it is finished; its record.

        Raises:
            HeldError: another process is executing it, or training a stage that it needs.
        """
        fabric, folder = self.fabric(run), self.folder(run)
        features = frozen_features(run.setup, fabric, self.callback.features)
        with nullcontext() if fabric.world_size > 1 else exclusive(folder), cpu_threads(self.threads_of(run)):
            return execute(run, folder, fabric, features=features, callback=self.callback)


def run_here(
    runs: Sequence[Run], executor: Executor, workers: AbstractContextManager[None] | None = None
) -> Iterator[tuple[Run, Record]]:
    """Execute all runs, one after the other; each with its record.

    A run that another process is executing is tried again later, until it is finished there or left to this process.

    Args:
        runs: what to execute.
        executor: executes them.
        workers: processes that work on the same runs for as long as this one does.
    """
    left, done = list(runs), 0
    with workers or nullcontext():
        while left:
            held = []
            for run in left:
                executor.callback.run(done, len(runs), run)
                try:
                    record = executor.execute(run)
                except HeldError:
                    held.append(run)
                    continue
                done += 1
                yield run, record
            if len(held) == len(left):
                time.sleep(WAIT_SECONDS)
            left = held
