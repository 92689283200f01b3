"""Runs on a Ray cluster: data go out once, results come back as bytes, and only the driver writes the run folder.

Nothing needs to lie on a shared file system. Images (or features) go through Ray's object store, once to each node;
a run is a task, which returns its record and predictions; the driver puts them where a run here would have left
them. A task that is lost with its node is given to another by Ray; a driver that is lost loses nothing that has
landed, and its successor hands out what has not.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from afield.errors import InputError, first_line
from afield.launch.local import WAIT_SECONDS, Executor, cpu_threads
from afield.records import Record, exclusive, read_record, to_record, write_atomic
from afield.runs.config import ExperimentConfig
from afield.runs.execute import DONE, RECORD, execute
from afield.runs.features import frozen_features
from afield.runs.run import Run

CONNECT_SECONDS = 5.0


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """A connection to a Ray cluster for as long as the block runs; the process's own, if it has one.

    Args:
        address: ``HOST:PORT``, or ``auto``: what ``RAY_ADDRESS`` says, else the cluster that runs on this machine.

    Raises:
        InputError: Ray is not installed, or no cluster is there.
    """
    try:
        import ray
    except ImportError:
        raise InputError("--launcher ray needs Ray: pip install 'afield[ray]'") from None
    if ray.is_initialized():
        yield
        return
    _check_reachable(os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"--ray-address {address}: {first_line(error)}") from None
    try:
        yield
    finally:
        ray.shutdown()


def gpus_for_a_run(device: str, threads: int) -> int:
    """GPUs that a run on the connected cluster takes: one under ``cuda``, and under ``auto`` where a node has any.

    Raises:
        InputError: no node has room for a run.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = (int(max(node.get(kind, 0) for node in nodes)) for kind in ("CPU", "GPU"))
    if threads > cpus:
        raise InputError(f"--threads {threads}: no node of the Ray cluster has more than {cpus} CPUs")
    if device == "cuda" and not gpus:
        raise InputError("--device cuda: no node of the Ray cluster has a GPU")
    return min(gpus, 1) if device in ("auto", "cuda") else 0


def run_on_ray(runs: Sequence[Run], executor: Executor, *, gpus: int) -> Iterator[tuple[Run, Record]]:
    """All runs, inside `cluster`: first those that are finished in `out`, then the others in the order they finish.

    Args:
        runs: what to execute.
        executor: its folder is on this machine; its fabric is made where a run is executed.
        gpus: for each run.

    Raises:
        InputError: a run that diverged, or was lost again and again.
    """
    import ray

    missing = []
    for run in runs:
        if (executor.folder(run) / DONE).exists():
            yield run, read_record(executor.folder(run) / RECORD)
        else:
            missing.append(run)
    shared, waiting = dict[int, Any](), dict[Any, Run]()
    for run in missing:
        threads, setup = executor.threads_of(run), run.setup
        if id(setup) not in shared:
            features = frozen_features(setup, executor.fabric(run), executor.callback.features)
            shared[id(setup)] = ray.put((_portable(setup), None if features is None else np.asarray(features)))
        others = {field.name: getattr(run, field.name) for field in dataclasses.fields(run) if field.name != "setup"}
        task = ray.remote(num_cpus=threads, num_gpus=gpus)(_execute_there)
        waiting[task.remote(shared[id(setup)], others, executor.make_fabric, threads)] = run
    try:
        while waiting:
            executor.callback.run(len(runs) - len(waiting), len(runs), next(iter(waiting.values())))
            landed, _ = ray.wait(list(waiting), num_returns=1, timeout=WAIT_SECONDS)
            for reference in landed:
                run = waiting.pop(reference)
                yield run, _land(run, _fetch(reference, run), executor.folder(run))
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _execute_there(
    shared: tuple[ExperimentConfig, NDArray[np.float32] | None],
    others: dict[str, Any],
    make_fabric: Callable[[str], Fabric],
    threads: int,
) -> dict[str, bytes]:
    """What a task does: the run, in a folder that is gone afterwards; the files that it left, by name."""
    setup, features = shared
    run = Run(setup, **others)
    with TemporaryDirectory(prefix="afield-") as parent, cpu_threads(threads):
        folder = Path(parent) / run.hash
        execute(run, folder, make_fabric(run.training.precision), features=features)
        return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != DONE}


def _fetch(reference: Any, run: Run) -> dict[str, bytes]:
    """What a task returned; what went wrong there is raised here."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise InputError(
            f"{run.label} was lost on the cluster, and its repetitions too: {first_line(error)}; "
            "what is finished is kept, and the same command goes on from it"
        ) from None


def _land(run: Run, files: dict[str, bytes], folder: Path) -> Record:
    """Put a run's files where a run here leaves them, the mark that it is done last; returns its record."""
    record = to_record(json.loads(files[RECORD]), f"the record of {run.label}")
    if record.run != run.hash:
        raise InputError(f"{run.label}: a node has other files under --weights or --splits than this machine")
    with exclusive(folder):
        for name, content in files.items():
            write_atomic(folder / name, content)
        (folder / DONE).touch()
    return record


def _portable(setup: ExperimentConfig) -> ExperimentConfig:
    """The setup without memory maps and without paths that are relative to this process. Its hash is the same.

    A frozen backbone has done its work, so that nobody reads its weights again.
    """
    data, backbone, validation = setup.data, setup.backbone, setup.validation
    if not setup.freeze and Path(backbone.weights).is_file():
        backbone = dataclasses.replace(backbone, weights=str(Path(backbone.weights).absolute()))
    if validation.lists is not None:
        validation = dataclasses.replace(validation, lists=str(Path(validation.lists).absolute()))
    data = dataclasses.replace(data, images=np.asarray(data.images))
    return dataclasses.replace(setup, data=data, backbone=backbone, validation=validation)


def _check_reachable(address: str) -> None:
    """Knock first: Ray itself would knock for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"--ray-address {address}: no Ray cluster answers there ({error}); `ray start --head` prints its address"
        ) from None
