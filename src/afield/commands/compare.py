"""``afield compare``."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from afield.commands.options import TrainingOptions, as_words, check_counts

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from afield.comparison.grid import Comparison
    from afield.launch.local import Launch
    from afield.records import Summary
    from afield.runs.callback import Callback


@dataclass(frozen=True)
class Compare(TrainingOptions):
    """Measure, leaving one domain out at a time, which recipe holds up on domains never seen.

    Attributes:
        recipes: names from `afield list recipes`, or .toml, .yaml or .json files.
        seeds: how many; each has its own split and initialization, the same for all recipes.
        jobs: how many runs at a time, each in a process of its own; the result is the same.
        threads: of the CPU for each run; one for `resnet8` and for frozen features (`jobs` uses more), else all.
        selection: Rule that selects the epoch of each run: a name from `afield list selections`.
        launcher: local; ray, to execute the runs on a Ray cluster; slurm, to write a job script and stop.
        ray_address: of the cluster, HOST:PORT; auto is what RAY_ADDRESS says, else the cluster on this machine.
        share: NUMBER/COUNT, as 3/8: execute that share of the runs and stop; any scheduler can count.
        dry_run: say which runs are done and about how long the others will take; write nothing into the run folder.
    """

    recipes: tuple[str, ...] = ("erm", "flattening", "arcface")
    seeds: int = 3
    jobs: int = 1
    threads: int | None = None
    selection: str = "train_validation"
    launcher: Literal["local", "ray", "slurm"] = "local"
    ray_address: str = "auto"
    share: str | None = None
    dry_run: bool = False

    def run(self) -> Summary | dict[str, Any]:
        """Run what is not done yet; returns the summary that is written to ``summary.json``.

        A dry run returns the plan (`afield.comparison.estimate.plan`), a share the number of its ``runs``, and the
        launcher ``slurm`` the path of its ``script``.
        """
        self._check()
        if self.dry_run:
            return self._plan()
        if self.share is not None:
            return {"runs": self._help(self.share)}
        if self.launcher == "slurm":
            return {"script": str(self._write_script())}
        return self._compare()

    def help(self) -> None:
        """Do, of what `run` does in another process, the runs that nobody is at."""
        self._help("1/1")

    def _check(self) -> None:
        from afield.errors import InputError
        from afield.evaluation import SELECTIONS

        check_counts(self, "seeds", "jobs", "threads")
        SELECTIONS.entry(self.selection)
        launcher = {f"--launcher {self.launcher}": self.launcher != "local", "--jobs": self.jobs > 1}
        sharing = {"--share": self.share is not None, "--devices": self.devices > 1}
        for ways in (launcher | sharing, {"--dry-run": self.dry_run} | sharing):
            given = [name for name, is_given in ways.items() if is_given]
            if len(given) > 1:
                raise InputError(f"{' and '.join(given)} are mutually exclusive")

    def _load(self, callback: Callback) -> tuple[Comparison, Fabric, int]:
        """What to compare, on which device, with how many CPU threads a run."""
        from afield.comparison.grid import Comparison
        from afield.recipes import resolve
        from afield.runs.config import choose_threads

        recipes = resolve(self.recipes, self.set)
        setup = self.load_setup(callback)
        fabric = self.make_fabric(setup.training.precision)
        callback.start(setup)
        return Comparison(setup, recipes, self.seeds, self.selection), fabric, choose_threads(setup, self.threads)

    def _compare(self) -> Summary:
        from afield.comparison.compare import run_comparison
        from afield.console import held, watching
        from afield.launch.ray import cluster

        out = self.folder("compare")
        connection = cluster(self.ray_address) if self.launcher == "ray" else nullcontext()
        with held(out), connection, watching() as callback:
            comparison, fabric, threads = self._load(callback)
            launch = self._launcher(comparison, fabric, threads, callback)
            return run_comparison(comparison, out=out, fabric=fabric, callback=callback, launch=launch)

    def _launcher(self, comparison: Comparison, fabric: Fabric, threads: int, callback: Callback) -> Launch:
        from afield.launch.local import run_here
        from afield.launch.ray import gpus_for_a_run, run_on_ray
        from afield.launch.workers import helpers

        out = self.folder("compare")
        if self.launcher == "ray":
            gpus = gpus_for_a_run(self.device, threads)
            make_fabric = partial(self.make_fabric, comparison.setup.training.precision)
            return partial(run_on_ray, out=out, make_fabric=make_fabric, gpus=gpus, threads=threads, callback=callback)
        crew = helpers(self, self.jobs - 1)
        return partial(run_here, out=out, fabric=fabric, threads=threads, callback=callback, crew=crew)

    def _help(self, share: str) -> int:
        from afield.comparison.compare import help_comparison
        from afield.comparison.grid import Share
        from afield.runs.callback import Callback

        mine, callback = Share.parse(share), Callback()
        comparison, fabric, threads = self._load(callback)
        return help_comparison(
            comparison, mine, out=self.folder("compare"), fabric=fabric, threads=threads, callback=callback
        )

    def _plan(self) -> dict[str, Any]:
        from afield.comparison.compare import check
        from afield.comparison.estimate import plan
        from afield.console import watching

        with watching() as callback:
            comparison, fabric, threads = self._load(callback)
            runs = comparison.runs()
            check(runs)
            return plan(runs, self.folder("compare"), fabric=fabric, threads=threads, at_once=self.jobs)

    def _write_script(self) -> Path:
        from afield.comparison.compare import check
        from afield.console import held, watching
        from afield.launch.slurm import write_script

        out = self.folder("compare")
        with held(out), watching() as callback:
            comparison, _, threads = self._load(callback)
            runs = comparison.runs()
            check(runs)
            words = as_words(dataclasses.replace(self, launcher="local", threads=threads))
            command = [sys.executable, "-m", "afield", "compare", *words]
            return write_script(command, out, runs=len(runs), threads=threads, gpu=self.device == "cuda")
