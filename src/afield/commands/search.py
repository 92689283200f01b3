"""``afield augment search``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from afield.amounts import parse_seconds
from afield.commands.options import TrainingOptions
from afield.errors import InputError
from afield.search.settings import Search

if TYPE_CHECKING:
    from afield.augment import Policy


@dataclass(frozen=True)
class AugmentSearch(Search, TrainingOptions):
    """Search an augmentation policy on your own images (Fast AutoAugment), for use as --augment FILE.

    Attributes:
        out: File (.json) or folder for the policy; by default a folder under runs/.
        recipe: Recipe of the classifiers that judge candidates: a name from `afield list recipes`, or a .toml, .yaml or
            .json file.
        held_out: Domains that the search does not use. A comparison that leaves out a domain has seen it through a
            policy that was searched on it.
        time_budget: Time limit, such as 90s, 9m or 2h; then the best policy so far is written, and the same command
            continues the search.
    """

    examples: ClassVar[tuple[str, ...]] = ("afield augment search --data photos/ --time-budget 2h --out policy.json",)

    photos_frozen: ClassVar[bool] = False

    out: Path | None = None
    recipe: str = "erm"
    held_out: tuple[str, ...] = ()
    time_budget: str | None = None

    @property
    def file(self) -> Path:
        """Path of the policy."""
        out = self.folder("augment-search")
        return out if out.suffix == ".json" else out / "policy.json"

    def run(self) -> Policy:
        """Search, from where an earlier search stopped; returns the written policy, with its cost in ``origin``."""
        from afield.console import held, watching
        from afield.launch.local import Executor, cpu_threads
        from afield.recipes import resolve
        from afield.runs.config import choose_threads
        from afield.search.policy_search import search_policy

        search, seconds = self.settings(), parse_seconds("--time-budget", self.time_budget)
        if self.devices != 1:
            raise InputError(f"--devices must be 1 for a search, got {self.devices}")
        (recipe,) = resolve([self.recipe], self.set)
        folder = self.file.parent if self.file != self.folder("augment-search") else self.file.with_suffix(".search")
        with held(folder), watching() as callback:
            setup = self.load_setup(callback)
            with cpu_threads(choose_threads(setup, None)):
                executor = Executor(folder, self.make_fabric, callback=callback)
                policy = search_policy(setup, recipe, search, executor, held_out=self.held_out, seconds=seconds)
            policy.write(self.file)
        return policy
