"""Execution of runs on a Ray cluster. No shared file system is needed; only the driver writes the run folders.

Images (or features) are sent once to each node through Ray's object store. Each run is a Ray task that returns its
files, such as record and predictions. The driver writes them to the same folder as a local run. If a node fails, Ray
repeats its tasks on another node. If the driver fails, received results are kept, and the same command continues.
"""

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
from numpy.typing import NDArray

from afield.errors import InputError, first_line
from afield.fabric import Fabric
from afield.launch.local import WAIT_SECONDS, Executor, cpu_threads
from afield.records import Record, exclusive, read_record, to_record, write_atomic
from afield.runs.config import ExperimentConfig
from afield.runs.execute import DONE, RECORD, execute
from afield.runs.features import stored_features
from afield.runs.run import Run

CONNECT_SECONDS = 5.0


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """Connect to a Ray cluster during a ``with`` block. An existing connection of this process is used if there is one.

    Args:
        address: ``HOST:PORT``, or ``auto`` for the value of ``RAY_ADDRESS`` or else the cluster on this machine.

    Raises:
        InputError: if Ray is not installed or the cluster is not reachable.
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
    """The number of GPUs of a run on the connected cluster: 1 for ``cuda``, and for ``auto`` if any node has a GPU.

    Raises:
        InputError: if no node has enough CPUs or GPUs for a run.
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
    """Execute all runs, inside `cluster`. Yields finished runs first, then the others in the order they finish.

    Args:
        runs: runs to execute.
        executor: executor of the runs. Its folder is on this machine; its fabric is created on the node of a run.
        gpus: number of GPUs for each run.

    Raises:
        InputError: if a run diverges or its node fails repeatedly.
    """
    import ray

    missing = []
    for run in runs:
        if (executor.folder(run) / DONE).exists():
            yield run, _reported(run, read_record(executor.folder(run) / RECORD), executor)
        else:
            missing.append(run)
    shared, waiting = dict[tuple[int, str], Any](), dict[Any, Run]()
    for run in missing:
        threads, setup = executor.threads_of(run), run.setup
        if (inputs := (id(setup), run.augment)) not in shared:
            features = stored_features(setup, run.augment, executor.fabric(run), executor.callback.features)
            shared[inputs] = ray.put((_portable(setup), None if features is None else np.asarray(features)))
        others = {field.name: getattr(run, field.name) for field in dataclasses.fields(run) if field.name != "setup"}
        task = ray.remote(num_cpus=threads, num_gpus=gpus)(_execute_on_node)
        waiting[task.remote(shared[inputs], others, executor.make_fabric, threads)] = run
    try:
        while waiting:
            executor.callback.run(len(runs) - len(waiting), len(runs), next(iter(waiting.values())))
            finished, _ = ray.wait(list(waiting), num_returns=1, timeout=WAIT_SECONDS)
            for reference in finished:
                run = waiting.pop(reference)
                yield run, _reported(run, _write_run(run, _fetch(reference, run), executor.folder(run)), executor)
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _execute_on_node(
    shared: tuple[ExperimentConfig, NDArray[np.float32] | None],
    others: dict[str, Any],
    make_fabric: Callable[[str], Fabric],
    threads: int,
) -> dict[str, bytes]:
    """Execute a run in a temporary folder of a node; returns its files by name."""
    setup, features = shared
    run = Run(setup, **others)
    with TemporaryDirectory(prefix="afield-") as parent, cpu_threads(threads):
        folder = Path(parent) / run.hash
        execute(run, folder, make_fabric(run.training.precision), features=features)
        return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != DONE}


def _fetch(reference: Any, run: Run) -> dict[str, bytes]:
    """The return value of a task. Raises the exception of the task if it failed."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise InputError(
            f"{run.label} failed on the cluster, also when repeated: {first_line(error)}; "
            "finished runs are kept, and the same command continues"
        ) from None


def _write_run(run: Run, files: dict[str, bytes], folder: Path) -> Record:
    """Write the files of a run to its folder, and mark the run as done; returns its record."""
    record = to_record(json.loads(files[RECORD]), f"the record of {run.label}")
    if record.run != run.hash:
        raise InputError(f"{run.label}: the files of --weights or --splits differ between a node and this machine")
    with exclusive(folder):
        for name, content in files.items():
            write_atomic(folder / name, content)
        (folder / DONE).touch()
    return record


def _reported(run: Run, record: Record, executor: Executor) -> Record:
    """The record, after the callback has received it."""
    executor.callback.run_end(run, executor.folder(run), record)
    return record


def _portable(setup: ExperimentConfig) -> ExperimentConfig:
    """The setup without memory maps and without relative paths. Its hash does not change.

    The weights of a frozen backbone are not needed, because its features are already extracted.
    """
    data, backbone, validation = setup.data, setup.backbone, setup.validation
    if not setup.freeze and Path(backbone.weights).is_file():
        backbone = dataclasses.replace(backbone, weights=str(Path(backbone.weights).absolute()))
    if validation.lists is not None:
        validation = dataclasses.replace(validation, lists=str(Path(validation.lists).absolute()))
    data = dataclasses.replace(data, images=np.asarray(data.images))
    return dataclasses.replace(setup, data=data, backbone=backbone, validation=validation)


def _check_reachable(address: str) -> None:
    """Raise `InputError` if the address is not reachable. Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise InputError(
            f"--ray-address {address}: no Ray cluster at this address ({error}); `ray start --head` prints the address"
        ) from None
