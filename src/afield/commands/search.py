"""``afield augment search``: an augmentation from someone's own images."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from afield.commands.options import TrainingOptions

if TYPE_CHECKING:
    from afield.augment import Policy


@dataclass(frozen=True)
class AugmentSearch(TrainingOptions):
    """Search an augmentation policy on your own images (Fast AutoAugment), for --augment FILE.

    Attributes:
        out: the policy's .json file, or a folder that gets a policy.json; a folder under runs/ unless given.
        recipe: of the folds' classifiers; a name from `afield list recipes`, or a .toml, .yaml or .json file.
        held_out: domains that take no part. A comparison that leaves a domain out has seen it through a policy that
            was searched on it.
        folds: a classifier is trained for each; its fold is what candidates are judged on.
        searches: on each fold.
        trials: candidates of a search.
        sub_policies: of a candidate, two operations each.
        top: candidates of each search that come into the policy.
        draws: of a candidate for each image, of which the least loss counts.
        seed: of folds, classifiers, candidates and draws.
        time_budget: as 90s, 9m or 2h: then no further classifier or candidate is begun, the best policy so far is
            written, and the same command goes on.
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
        """Of the policy."""
        out = self.folder("augment-search")
        return out if out.suffix == ".json" else out / "policy.json"

    def run(self) -> Policy:
        """Search what is not done yet; returns the policy that is written, with its cost in ``origin``."""
        from afield.console import held, watching
        from afield.errors import InputError
        from afield.launch.local import cpu_threads
        from afield.recipes.recipe import resolve
        from afield.runs.config import choose_threads
        from afield.search.density_matching import Search
        from afield.search.policy_search import search_policy

        names = ("folds", "searches", "trials", "sub_policies", "top", "draws", "seed")
        search = Search(**{name: getattr(self, name) for name in names})
        seconds = seconds_of(self.time_budget)
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


def seconds_of(budget: str | None) -> float:
    """``"90s"``, ``"9m"`` or ``"2h"`` in seconds; infinite where none is given.

    Raises:
        InputError: another form.
    """
    from afield.errors import InputError

    if budget is None:
        return math.inf
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", budget)
    if found is None:
        raise InputError(f"--time-budget must be a number with s, m or h, as 90s, 9m or 2h; got {budget!r}")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]
