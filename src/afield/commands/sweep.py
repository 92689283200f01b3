"""``afield sweep``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afield.commands.launching import LaunchOptions
from afield.commands.options import TrainingOptions, check_counts
from afield.errors import InputError
from afield.validation import check_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from afield.comparison.sweep.protocol import Sweep as Protocol
    from afield.comparison.sweep.summary import SweepSummary
    from afield.launch.local import Executor, Launch
    from afield.runs.callback import Callback
    from afield.runs.run import Run


@dataclass(frozen=True)
class Sweep(TrainingOptions, LaunchOptions):
    """Search settings of recipes by random draws, and measure the gain over the defaults on unseen domains.

    The first draw has the defaults. For each unseen domain, the draw that the selection rule prefers is trained again
    with fresh seeds, and so are the defaults.

    Attributes:
        recipes: Names from `afield list recipes`, or .toml, .yaml or .json files.
        draws: Number of draws of each recipe, the defaults included.
        trials: Number of seeds of each draw.
        seeds: Number of fresh seeds of the defaults and of the selected draws.
        search: NAME=DISTRIBUTION searches a setting, RECIPE.NAME=DISTRIBUTION that of one recipe. NAME is as in --set;
            DISTRIBUTION is log_uniform(LOW, HIGH), uniform(LOW, HIGH), scaled(LOW, HIGH) as a factor of the default,
            choice(VALUE, VALUE, ...), or fixed. By default, settings have the distributions in docs/sweep.md.
        space: TOML file of NAME = "DISTRIBUTION"; settings that it does not contain are not searched.
        halvings: Successive halving: start with all draws and few epochs, and go on with the better half and twice as
            many epochs, this number of times.
        held_out: Domains to hold out, one at a time; by default each domain, or those that are not in --train-domains.
        train_domains: Domains to train on; by default all that are not held out.
        selection: Rule that selects the epoch of each run and the draw: a name from `afield list selections`.
        metric: Metric for the selection and the table: a name from `afield list metrics`.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield sweep --data photos/ --recipes erm irm coral --draws 20 --dry-run",
        "afield sweep --data photos/ --recipes irm --search 'irm.algorithm_options.penalty=log_uniform(1, 1e4)'",
        "afield sweep --data photos/ --recipes erm --draws 32 --halvings 3 --jobs 2",
    )

    verb: ClassVar[str] = "sweep"

    recipes: tuple[str, ...] = ("erm",)
    draws: int = 20
    trials: int = 1
    seeds: int = 5
    search: tuple[str, ...] = ()
    space: Path | None = None
    halvings: int = 0
    held_out: tuple[str, ...] = ()
    train_domains: tuple[str, ...] = ()
    selection: str = "train_validation"
    metric: str = "accuracy"

    @property
    def run_folder(self) -> Path:
        """The folder for the results."""
        return self.folder(self.verb)

    def check(self) -> None:
        """Also reject numbers out of range, unknown names, and the folder of a comparison."""
        from afield.evaluation import METRICS, SELECTIONS

        super().check()
        check_counts(self, "draws", "trials", "seeds")
        check_number("--halvings", self.halvings, 0, 10, whole=True)
        if 2**self.halvings > self.draws:
            raise InputError(f"--halvings {self.halvings} needs at least --draws {2**self.halvings}, got {self.draws}")
        SELECTIONS.entry(self.selection)
        METRICS.entry(self.metric)
        if (self.run_folder / "summary.json").exists():
            raise InputError(f"{self.run_folder} has the results of another command; choose another --out")

    def load(self, callback: Callback) -> tuple[Protocol, Sequence[Run]]:
        """The sweep, and the runs that are known from the finished ones."""
        from afield.comparison.compare import check
        from afield.comparison.grid import chosen_parts, held_out_in_turn
        from afield.comparison.sweep.conduct import finder
        from afield.comparison.sweep.protocol import Sweep as Protocol, advance
        from afield.comparison.sweep.space import read_changes, read_space, spaces
        from afield.recipes import resolve
        from afield.runs.build import check_unlabeled

        recipes = resolve(self.recipes, self.set)
        changes = [*([] if self.space is None else read_space(Path(self.space))), *read_changes(self.search)]
        setup = dataclasses.replace(self.load_setup(callback), train_domains=self.train_domains)
        parts = chosen_parts(setup.data, self.held_out, self.train_domains)
        for recipe in recipes:
            if recipe.adaptation:
                check_unlabeled(setup, recipe)
        found = spaces(recipes, setup.training, changes, only=self.space is not None)
        self.make_fabric(setup.training.precision)
        callback.start(setup, held_out_in_turn(setup, parts))
        sweep = Protocol(
            setup,
            recipes,
            found,
            self.draws,
            self.trials,
            self.seeds,
            parts,
            self.selection,
            self.metric,
            self.halvings,
        )
        runs = advance(sweep, finder(self._executor(callback))).runs
        check(runs)
        return sweep, runs

    def plan(self, purpose: Protocol, runs: Sequence[Run], executor: Executor) -> dict[str, Any]:
        """Also estimate the runs that depend on the results of others."""
        from afield.comparison.estimate import plan
        from afield.comparison.sweep.conduct import finder
        from afield.comparison.sweep.protocol import advance

        return plan(runs, executor, at_once=self.jobs, later=advance(purpose, finder(executor)).later)

    def conduct(self, purpose: Protocol, runs: Sequence[Run], executor: Executor, launch: Launch) -> SweepSummary:
        """Print the cost, and execute the runs of all stages. Returns the summary, as in ``sweep.json``."""
        from afield.comparison.sweep.conduct import run_sweep

        planned = self.plan(purpose, runs, executor)
        left = sum(run["state"] != "done" for run in planned["runs"]) + planned["later"]
        if left:
            executor.callback.forecast(left, left * planned["run_s"])
        return run_sweep(purpose, executor, launch)
