"""``afield augment search``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from afield.amounts import parse_seconds
from afield.commands.options import TrainingOptions

if TYPE_CHECKING:
    from afield.augment import Policy


@dataclass(frozen=True)
class AugmentSearch(TrainingOptions):
    """Search an augmentation policy on your own images (Fast AutoAugment), for use as --augment FILE.

    Attributes:
        out: File (.json) or folder for the policy; by default a folder under runs/.
        recipe: Recipe of the classifiers that judge candidates: a name from `afield list recipes`, or a .toml, .yaml or
            .json file.
        held_out: Domains that the search does not use. A comparison that leaves out a domain has seen it through a
            policy that was searched on it.
        folds: Number of folds; a classifier is trained for each, and its fold judges candidate policies.
        searches: Number of searches per fold.
        trials: Number of candidates per search.
        sub_policies: Number of sub-policies per candidate, of two operations each.
        top: Number of best candidates of each search that the policy keeps.
        draws: Number of augmentations of each image by a candidate; the smallest loss counts.
        seed: Seed of folds, classifiers, candidates and augmentation.
        time_budget: Time limit, such as 90s, 9m or 2h; then the best policy so far is written, and the same command
            continues the search.
    """

    out: Path | None = None
    recipe: str = "erm"
    held_out: tuple[str, ...] = ()
    folds: int = 5
    searches: int = 2
    trials: int = 200
    sub_policies: int = 5
    top: int = 10
    draws: int = 5
    seed: int = 0
    time_budget: str | None = None

    @property
    def file(self) -> Path:
        """Path of the policy."""
        out = self.folder("augment-search")
        return out if out.suffix == ".json" else out / "policy.json"

    def run(self) -> Policy:
        """Search, from where an earlier search stopped; returns the written policy, with its cost in ``origin``."""
        from afield.console import held, watching
        from afield.errors import InputError
        from afield.launch.local import cpu_threads
        from afield.recipes import resolve
        from afield.runs.config import choose_threads
        from afield.search.density_matching import Search
        from afield.search.policy_search import search_policy

        names = ("folds", "searches", "trials", "sub_policies", "top", "draws", "seed")
        search = Search(**{name: getattr(self, name) for name in names})
        seconds = parse_seconds("--time-budget", self.time_budget)
        if self.devices != 1:
            raise InputError(f"--devices must be 1 for a search, got {self.devices}")
        (recipe,) = resolve([self.recipe], self.set)
        folder = self.file.parent if self.file != self.folder("augment-search") else self.file.with_suffix(".search")
        with held(folder), watching() as callback:
            setup = self.load_setup(callback)
            with cpu_threads(choose_threads(setup, None)):
                policy = search_policy(
                    setup,
                    recipe,
                    search,
                    held_out=self.held_out,
                    folder=folder,
                    fabric=self.make_fabric(setup.training.precision),
                    callback=callback,
                    seconds=seconds,
                )
            policy.write(self.file)
        return policy
