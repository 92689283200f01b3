"""Options of the commands that execute many runs: how many at a time, where, and which of them."""

from __future__ import annotations

import dataclasses
import sys
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from afield.commands.options import check_counts
from afield.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from afield.fabric import Fabric
    from afield.launch.local import Executor, Launch
    from afield.runs.callback import Callback
    from afield.runs.run import Run


def as_words(options: Any) -> list[str]:
    """Options as words of a command line: those that differ from their defaults, positional ones first."""
    words, positional = [], []
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), f"--{field.name.replace('_', '-')}"
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            positional.append(str(value))
        elif value is True:
            words.append(name)
        elif value != field.default:
            words += [name, *map(str, value if isinstance(value, tuple) else (value,))]
    return positional + words


@dataclass(frozen=True, kw_only=True)
class LaunchOptions(ABC):
    """Who executes the runs.

    Attributes:
        jobs: Number of runs at a time, each in a process of its own; the result is the same.
        threads: Number of CPU threads of each run; by default 1 for small networks and frozen features, else all.
        launcher: Where runs are executed: local, in this machine's processes; ray, on a Ray cluster; slurm writes a job
            script and stops.
        ray_address: Address of the Ray cluster as HOST:PORT; auto takes RAY_ADDRESS, else the cluster on this machine.
        share: Execute only a share of the runs, given as NUMBER/COUNT, such as 3/8, for any scheduler.
        dry_run: List the runs and estimate the time of the unfinished ones; write nothing.
    """

    verb: ClassVar[str]
    if TYPE_CHECKING:

        @property
        @abstractmethod
        def device(self) -> str:
            """An option of each command: auto, cpu, cuda or mps."""

    jobs: int = 1
    threads: int | None = None
    launcher: Literal["local", "ray", "slurm"] = "local"
    ray_address: str = "auto"
    share: str | None = None
    dry_run: bool = False

    @property
    @abstractmethod
    def run_folder(self) -> Path:
        """Where to write."""

    @abstractmethod
    def make_fabric(self, precision: str) -> Fabric:
        """Device, precision and processes."""

    @abstractmethod
    def load(self, callback: Callback) -> tuple[Any, Sequence[Run]]:
        """What the runs are for, and the runs; a mistake in one of them shows here."""

    @abstractmethod
    def conduct(self, purpose: Any, runs: Sequence[Run], executor: Executor, launch: Launch) -> Any:
        """Execute the runs that are not finished, and write what they are for."""

    def run(self) -> Any:
        """Execute the runs that are not finished, and return what they are for.

        A dry run returns the plan (`afield.comparison.estimate.plan`), a share the number of its ``runs``, and the
        launcher ``slurm`` the path of its ``script``.
        """
        from afield.comparison.grid import Share
        from afield.console import held, watching
        from afield.launch.ray import cluster
        from afield.launch.workers import workers

        self.check()
        if self.share is not None:
            return {"runs": self._execute(Share.parse(self.share))}
        if self.dry_run:
            with watching() as shown:
                purpose, runs = self.load(shown)
                return self.plan(purpose, runs, self._executor(shown))
        connection = cluster(self.ray_address) if self.launcher == "ray" else nullcontext()
        helping = self.jobs - 1 if self.launcher == "local" else 0
        with held(self.run_folder), connection, watching() as shown, workers(helping) as call_workers:
            callback = self.watched(self.tracked(shown))
            purpose, runs = self.load(callback)
            executor = self._executor(callback)
            if self.launcher == "slurm":
                return {"script": str(self._write_script(runs, executor))}
            launch = self._launch(runs, executor, partial(call_workers, self))
            return self.conduct(purpose, runs, executor, launch)

    def plan(self, purpose: Any, runs: Sequence[Run], executor: Executor) -> dict[str, Any]:
        """What is left to do and how long it takes; see `afield.comparison.estimate.plan`."""
        from afield.comparison.estimate import plan

        return plan(runs, executor, at_once=self.jobs)

    def help(self) -> None:
        """Execute in another process the runs that nobody is executing, until all are finished."""
        from afield.comparison.grid import Share

        self._execute(Share(1, 1))

    def watched(self, callback: Callback) -> Callback:
        """The callback that the work reports to."""
        return callback

    def tracked(self, callback: Callback) -> Callback:
        """The callback together with those that write while runs train, in each process that trains."""
        return callback

    def check(self) -> None:
        """Refuse numbers out of range, and options that exclude each other."""
        check_counts(self, "jobs", "threads")
        launcher = {f"--launcher {self.launcher}": self.launcher != "local", "--jobs": self.jobs > 1}
        sharing = {"--share": self.share is not None, "--devices": getattr(self, "devices", 1) > 1}
        for ways in (launcher | sharing, {"--dry-run": self.dry_run} | sharing):
            given = [name for name, is_given in ways.items() if is_given]
            if len(given) > 1:
                raise InputError(f"{' and '.join(given)} are mutually exclusive")

    def _executor(self, callback: Callback) -> Executor:
        from afield.launch.local import Executor

        return Executor(self.run_folder, self.make_fabric, self.threads, callback)

    def _execute(self, share: Any) -> int:
        from afield.launch.local import run_here
        from afield.runs.callback import SILENT

        runs = share.of(self.load(SILENT)[1])
        return sum(1 for _ in run_here(runs, self._executor(self.tracked(SILENT))))

    def _launch(self, runs: Sequence[Run], executor: Executor, call_workers: Callable[[], None]) -> Launch:
        from afield.launch.local import run_here
        from afield.launch.ray import gpus_for_a_run, run_on_ray

        if self.launcher == "ray":
            gpus = gpus_for_a_run(self.device, max(map(executor.threads_of, runs), default=1))
            return partial(run_on_ray, executor=executor, gpus=gpus)
        return partial(run_here, executor=executor, call_workers=call_workers)

    def _write_script(self, runs: Sequence[Run], executor: Executor) -> Path:
        from afield.launch.slurm import write_script

        threads = max(map(executor.threads_of, runs), default=1)
        words = as_words(dataclasses.replace(self, launcher="local", threads=threads))
        command = [sys.executable, "-m", "afield", self.verb, *words]
        gpu = self.device == "cuda"
        return write_script(command, self.run_folder, runs=len(runs), threads=threads, gpu=gpu)
