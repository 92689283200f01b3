"""Pieces of work: a run of a study, and the line of the records that it leaves."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lightning_fabric import Fabric

from afield.classifier import Classifier
from afield.comparison.compare import check
from afield.data import make_fold, parts_of
from afield.errors import InputError
from afield.evaluation import SELECTIONS, expected_calibration_error, non_target_probabilities
from afield.launch.local import cpu_threads
from afield.recipes import Recipe
from afield.records import Record, Selection, read_json, run_hash, write_json
from afield.runs.augmentation import augmentation_names, augmentor_settings, fixed_part, learned_part
from afield.runs.callback import SILENT, Callback
from afield.runs.config import ExperimentConfig
from afield.runs.features import frozen_features
from afield.runs.provenance import provenance
from afield.runs.run import PREDICTIONS, Run, execute
from afield.training import DivergedError, TrainState, checkpoint

KEPT = "kept.json"
LEARNING = 2.0
"""How much more an image costs while an augmentation is learned on it than in training, about."""


@dataclass(frozen=True)
class Desk:
    """What tasks are worked on with.

    Attributes:
        device: auto, cpu, cuda or mps.
        threads: of the CPU, for each task.
        callback: told of epochs.
    """

    device: str = "auto"
    threads: int = 1
    callback: Callback = SILENT

    def fabric(self, precision: str) -> Fabric:
        """Device and precision; the same one for equal precision.

        Raises:
            InputError: no such device.
        """
        return _fabric(self.device, precision)


@cache
def _fabric(device: str, precision: str) -> Fabric:
    try:
        return Fabric(accelerator=device, precision="bf16-mixed" if precision == "bf16" else "32-true")
    except (RuntimeError, ValueError) as error:
        raise InputError(f"--device {device}: {error}") from None


class Task(Protocol):
    """A piece of work that is done once, in a folder of its own."""

    @property
    def study_name(self) -> str:
        """What it is part of."""
        ...

    @property
    def hash(self) -> str:
        """Names the folder."""
        ...

    @property
    def label(self) -> str:
        """Names the task for people."""
        ...

    def work(self, folder: Path, desk: Desk) -> Record:
        """Do it, going on from what lies in the folder."""
        ...

    def workload(self) -> Workload:
        """How much it is."""
        ...


@dataclass(frozen=True)
class Workload:
    """How much a task is: so many training images, over all epochs, in a setup with a recipe."""

    setup: ExperimentConfig
    recipe: Recipe
    images: float


@contextmanager
def on_purpose() -> Iterator[None]:
    """What papers do on purpose, a scale of 1 and augmentors that collapse, stands on their pages: no warnings."""
    with warnings.catch_warnings():
        for message in ("scale=1 is below the floor", "the augmentor collapsed"):
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


Keep = Callable[[Run, Classifier], dict[str, Any]]


@dataclass(frozen=True)
class Study:
    """Runs that answer one question on one set of images: recipes, parts left out and seeds.

    Attributes:
        name: stands in each line.
        setup: of all its runs.
        recipes: what is compared.
        seeds: how many.
        held_out: what is left out of a run, for each; every part once unless given.
        selection: a rule that looks at the run alone.
        wrong_classes: whether lines hold the mean probability of wrong classes.
        keep: what else a line holds, from the trained classifier.
    """

    name: str
    setup: ExperimentConfig
    recipes: tuple[Recipe, ...]
    seeds: int
    held_out: tuple[tuple[str, ...], ...] = ()
    selection: str = "train_validation"
    wrong_classes: bool = False
    keep: Keep | None = None

    def tasks(self) -> list[RunTask]:
        """Seed by seed, so that early results are balanced.

        Raises:
            InputError: a recipe that cannot be built.
        """
        held_out = self.held_out or _each_part(self.setup)
        tasks = [
            RunTask(self, Run(self.setup, recipe, parts, seed))
            for seed in range(self.seeds)
            for parts in held_out
            for recipe in self.recipes
        ]
        with on_purpose():
            check([task.run for task in tasks])
        return tasks


def runnable(setup: ExperimentConfig, recipes: Sequence[Recipe]) -> tuple[Recipe, ...]:
    """The recipes that can train in this setup: some need images where only features are seen."""
    found = []
    for recipe in recipes:
        try:
            check([Run(setup, recipe, parts, seed=0) for parts in _each_part(setup)])
        except InputError:
            continue
        found.append(recipe)
    return tuple(found)


def _each_part(setup: ExperimentConfig) -> tuple[tuple[str, ...], ...]:
    return tuple((part,) for part in parts_of(setup.data))


@dataclass(frozen=True)
class RunTask:
    """A run of a study."""

    study: Study
    run: Run

    @property
    def study_name(self) -> str:
        """The study's."""
        return self.study.name

    @property
    def hash(self) -> str:
        """The run's in this study."""
        return run_hash({"study": self.study.name, "run": self.run.hash})

    @property
    def label(self) -> str:
        """Study and run, for people."""
        return f"{self.study.name}: {self.run.label}"

    def work(self, folder: Path, desk: Desk) -> Record:
        """Train and measure. A run that diverges leaves a line too, at the level of chance."""
        run, setup, names = self.run, self.run.setup, self.run.setup.data.class_names
        fabric = desk.fabric(setup.training.precision)
        about = {"class_count": len(names), "classes": list(names) if len(names) <= 20 else None}
        features = frozen_features(setup, fabric, desk.callback.features)

        def keep(classifier: Classifier, progress: TrainState) -> None:
            classifier.load_state_dict(progress.best)
            write_json(folder / KEPT, self.study.keep(run, classifier) if self.study.keep else {})

        began = time.perf_counter()
        try:
            with cpu_threads(desk.threads), on_purpose():
                record = execute(run, folder, fabric, features=features, callback=desk.callback, on_trained=keep)
        except DivergedError:
            return self._diverged(about, time.perf_counter() - began)
        return self._measured(record, folder, about | read_json(folder / KEPT))

    def _diverged(self, about: dict[str, Any], seconds: float) -> Record:
        """The record of a run that diverged, without epochs."""
        run, setup = self.run, self.run.setup
        fold = make_fold(setup.data, run.held_out, setup.validation, run.seed)
        parts = {"train": fold.train, "validation": fold.val, **{f"test/{name}": p for name, p in fold.tests.items()}}
        chance = 1 / len(setup.data.class_names)
        return Record(
            run=run.hash,
            recipe=run.recipe.name,
            seed=run.seed,
            held_out=run.held_out,
            config=run.config,
            split_hash=fold.hash(setup.data),
            images={name: len(part) for name, part in parts.items()},
            epochs=(),
            duration_s=round(seconds, 3),
            test={part: {"accuracy": chance, "map": chance} for part in run.held_out},
            study=self.study.name,
            details={**about, "diverged": True},
            **provenance(),
        )

    def _measured(self, record: Record, folder: Path, details: dict[str, Any]) -> Record:
        """The record of a finished run, with the metrics and details at the selected epoch."""
        rule, data = self.study.selection, self.run.setup.data
        epoch = SELECTIONS[rule](record, ())
        tensors, _ = checkpoint.load(folder / PREDICTIONS)
        which = "last" if rule == "last" else "best"
        found = {
            part: (tensors[f"{which}/test/{part}"].numpy(), data.labels[tensors[f"indices/test/{part}"].numpy()])
            for part in self.run.held_out
        }
        if self.study.wrong_classes:
            logits, labels = (np.concatenate([pair[i] for pair in found.values()]) for i in range(2))
            details["wrong_classes"] = {
                data.class_names[label]: [
                    None if np.isnan(p) else round(float(p), 5)
                    for p in non_target_probabilities(logits, labels, int(label))
                ]
                for label in np.unique(labels)
            }
        return dataclasses.replace(
            record,
            selection=Selection(rule, epoch + 1),
            test={
                part: {**record.epochs[epoch].test[part], "ece": expected_calibration_error(logits, labels)}
                for part, (logits, labels) in found.items()
            },
            study=self.study.name,
            details=details,
        )

    def workload(self) -> Workload:
        """Training images over all epochs, a third of those that are looked at after each, and what learning adds."""
        run, setup = self.run, self.run.setup
        fold = make_fold(setup.data, run.held_out, setup.validation, run.seed)
        watched = len(fold.val) + sum(len(part) for part in fold.tests.values())
        images = setup.training.epochs * (len(fold.train) + watched / 3)
        names = augmentation_names(setup, run.recipe)
        learned = learned_part(names)
        if learned is not None:
            images += LEARNING * len(fold.train) * augmentor_settings(run.recipe, learned).epochs
        return Workload(setup, dataclasses.replace(run.recipe, augment=fixed_part(names), augment_options={}), images)
