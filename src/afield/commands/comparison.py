"""``afield compare``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from afield.commands.options import TrainingOptions


@dataclass(frozen=True)
class Compare(TrainingOptions):
    """Measure, leaving one domain out at a time, which recipe holds up on domains never seen.

    Attributes:
        recipes: names from `afield list recipes`, or .toml, .yaml or .json files.
        seeds: how many; each has its own split and initialisation, the same for all recipes.
        jobs: how many runs at a time, each in a process of its own; the result is the same.
        threads: of the CPU for each run; one for `resnet8` and for frozen features (`jobs` uses more), else all.
        selection: which epoch counts; a name from `afield list selections`.
    """

    recipes: tuple[str, ...] = ("erm", "flattening", "arcface")
    seeds: int = 3
    jobs: int = 1
    threads: int | None = None
    selection: Literal["train_validation", "last", "leave_one_out_validation", "oracle"] = "train_validation"

    def run(self) -> dict[str, Any]:
        """Run what is not done yet; returns the summary that is written to ``summary.json``."""
        from afield.console import held, watching
        from afield.errors import InputError
        from afield.experiments.compare import run_comparison
        from afield.experiments.crew import helpers
        from afield.experiments.recipes import resolve
        from afield.experiments.setup import choose_threads

        for name, value in (
            ("seeds", self.seeds),
            ("jobs", self.jobs),
            ("threads", 1 if self.threads is None else self.threads),
        ):
            if not 1 <= value <= 1000:
                raise InputError(f"--{name} must lie between 1 and 1000, got {value}")
        if self.jobs > 1 and self.devices > 1:
            raise InputError("--jobs and --devices: one of them must be 1")
        recipes = resolve(self.recipes, self.set)
        with held(self.folder("compare")), watching() as watch:
            setup = self.load_setup(watch)
            fabric = self.make_fabric(setup.training.precision)
            watch.start(setup)
            return run_comparison(
                setup,
                recipes,
                seeds=self.seeds,
                selection=self.selection,
                out=self.folder("compare"),
                fabric=fabric,
                watch=watch,
                threads=choose_threads(setup, self.threads),
                crew=helpers(self, self.jobs - 1),
            )

    def help(self) -> None:
        """Do, of what `run` does in another process, the runs that nobody is at."""
        from afield.experiments.compare import help_comparison
        from afield.experiments.recipes import resolve
        from afield.experiments.setup import choose_threads
        from afield.experiments.watcher import Watcher

        setup = self.load_setup(Watcher())
        help_comparison(
            setup,
            resolve(self.recipes, self.set),
            seeds=self.seeds,
            selection=self.selection,
            out=self.folder("compare"),
            fabric=self.make_fabric(setup.training.precision),
            threads=choose_threads(setup, self.threads),
        )
