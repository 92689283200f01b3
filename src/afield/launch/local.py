"""Execution of runs on this machine. Several processes can work on the same folder."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from afield.fabric import Fabric
from afield.records import HeldError, Record, exclusive
from afield.runs.callback import SILENT, Callback
from afield.runs.config import choose_threads
from afield.runs.execute import execute
from afield.runs.features import stored_features
from afield.runs.run import Run

Launch = Callable[[Sequence[Run]], Iterator[tuple[Run, Record]]]
"""Finishes all runs, and yields each run with its record, in any order."""

WAIT_SECONDS = 0.2
"""Time between two attempts to execute runs that other processes are executing."""


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Set the number of CPU threads of PyTorch during a ``with`` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Executor:
    """Executes runs and writes their folders.

    Attributes:
        out: folder of the comparison. Each run has a folder in ``runs/``.
        make_fabric: creates a fabric of a precision.
        threads: number of CPU threads of each run; None selects it by the setup of the run (`choose_threads`).
        callback: receives the progress.
    """

    out: Path
    make_fabric: Callable[[str], Fabric]
    threads: int | None = None
    callback: Callback = SILENT

    def folder(self, run: Run) -> Path:
        """The folder of a run."""
        return self.out / "runs" / run.hash

    def fabric(self, run: Run) -> Fabric:
        """The fabric of a run."""
        return self.make_fabric(run.training.precision)

    def threads_of(self, run: Run) -> int:
        """The number of CPU threads of a run. It is the same in every process, because it affects rounding."""
        return choose_threads(run.setup, self.threads)

    def execute(self, run: Run) -> Record:
        """Execute a run, if it is not finished; returns its record.

        Raises:
            HeldError: if another process is executing the run or training a stage that it needs.
        """
        fabric, folder = self.fabric(run), self.folder(run)
        features = stored_features(run.setup, run.augment, fabric, self.callback.features)
        with nullcontext() if fabric.world_size > 1 else exclusive(folder), cpu_threads(self.threads_of(run)):
            return execute(run, folder, fabric, features=features, callback=self.callback)


def run_here(
    runs: Sequence[Run], executor: Executor, call_workers: Callable[[], None] = lambda: None
) -> Iterator[tuple[Run, Record]]:
    """Execute all runs one after the other, and yield each with its record.

    If another process is executing a run, it is tried again later, until it is finished or the other process has ended.

    Args:
        runs: runs to execute.
        executor: executor of the runs.
        call_workers: called first; lets worker processes execute the same runs.
    """
    left, done = list(runs), 0
    call_workers()
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
