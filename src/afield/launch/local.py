"""Runs on this machine: one after the other, side by side with any number of helpers on the same folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from afield.records import HeldError, Record, exclusive
from afield.runs.callback import Callback
from afield.runs.run import Run, execute

Features = NDArray[np.float32] | None
"""``[N, D]`` of the whole data set where the backbone is frozen, else None."""

Launch = Callable[[Sequence[Run], Features], Iterator[tuple[Run, Record]]]
"""Sees to it that the folder of every run is finished, and yields each with its record, in any order."""


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """So many threads of PyTorch for as long as the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_free(
    runs: Sequence[Run], features: Features, *, out: Path, fabric: Fabric, threads: int, callback: Callback
) -> Iterator[tuple[Run, Record]]:
    """Execute, one after the other, the runs that no other process is at; each with its record.

    A run's folder is held while it is executed, so that any number of processes can go through the same list.
    """
    for index, run in enumerate(runs):
        callback.run(index, len(runs), run)
        folder = out / "runs" / run.hash
        try:
            with nullcontext() if fabric.world_size > 1 else exclusive(folder), cpu_threads(threads):
                record = execute(run, folder, fabric, features=features, callback=callback)
        except HeldError:
            continue
        yield run, record


def run_here(
    runs: Sequence[Run],
    features: Features,
    *,
    out: Path,
    fabric: Fabric,
    threads: int,
    callback: Callback,
    crew: AbstractContextManager[None],
) -> Iterator[tuple[Run, Record]]:
    """All runs: those that nobody else is at, then those that another process left or has finished meanwhile.

    Args:
        runs: what to execute.
        features: of a frozen backbone.
        out: the folder of the comparison.
        fabric: device and precision.
        threads: of the CPU for a run, whoever executes it: the number changes the rounding of its result.
        callback: told of runs and epochs.
        crew: processes that go through the same runs for as long as this one does.
    """
    done = set()
    with crew:
        for run, record in run_free(runs, features, out=out, fabric=fabric, threads=threads, callback=callback):
            done.add(run.hash)
            yield run, record
        for run in runs:
            if run.hash not in done:
                with exclusive(out / "runs" / run.hash, wait=True), cpu_threads(threads):
                    record = execute(run, out / "runs" / run.hash, fabric, features=features)
                yield run, record
