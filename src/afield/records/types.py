"""What a run and a comparison write down: frozen dataclasses that JSON can hold."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 2
"""Version of the record format. A change to it changes every run hash."""

Figures = Mapping[str, float]
"""Metrics or measures by name."""


class Subscriptable:
    """``record["epochs"]`` for ``record.epochs``: what the verbs returned was a dictionary until this version."""

    def __getitem__(self, name: str) -> Any:
        warnings.warn(f"[{name!r}] is deprecated; use .{name}", DeprecationWarning, stacklevel=2)
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None


@dataclass(frozen=True)
class Epoch(Subscriptable):
    """The figures of a run after an epoch.

    Attributes:
        train_loss: mean of the loss that was minimized; None where an earlier version did not keep it.
        validation: metrics on the validation images.
        test: metrics on each part that is held out.
        train_terms: mean of each term of the loss, where it has several.
    """

    train_loss: float | None
    validation: Figures
    test: Mapping[str, Figures]
    train_terms: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class Selection(Subscriptable):
    """The epoch that counts, from 1, and the rule that chose it."""

    rule: str
    epoch: int


@dataclass(frozen=True)
class Learned(Subscriptable):
    """How the augmentation of a run was learned.

    Attributes:
        kind: name in the registry of learned augmentations.
        settings: of the augmentor.
        first_epochs: epochs of the classifier before the augmentation was learned.
        epochs: measures of each part by name, for each epoch of learning; the first epoch is untrained.
        collapses: how it failed, by name, with what helps; empty if it did not fail.
        search_s: seconds of learning; CPU seconds in the study of learned augmentations.
    """

    kind: str
    settings: Mapping[str, Any]
    first_epochs: int
    epochs: tuple[Mapping[str, Figures], ...]
    collapses: Mapping[str, str]
    search_s: float

    @property
    def measures(self) -> Figures:
        """Measures on the validation images at the end."""
        return self.epochs[-1]["validation"]


@dataclass(frozen=True)
class Record(Subscriptable):
    """One training run.

    Attributes:
        run: the hash of `config`, which names the run's folder.
        recipe: name.
        seed: names the generators of every random choice.
        held_out: the parts that took no part in training.
        config: everything that decides the result.
        split_hash: of the images of training, validation and test.
        images: number of images of each part.
        epochs: figures of each epoch, or only those of the selected epoch in records of reproductions by version 1.
        duration_s: seconds.
        versions: of the packages that computed the result.
        hardware: system, CPU, cores, threads and GPU.
        commit: of the source checkout, if it ran from one.
        learned: how the augmentation was learned, if it was.
        selection: the epoch that counts, where one was selected.
        test: metrics on each held-out part at the epoch that counts.
        study: the study of a reproduction that the run belongs to.
        details: what else a study keeps.
        schema: version of the format.
    """

    run: str
    recipe: str
    seed: int
    held_out: tuple[str, ...]
    config: Mapping[str, Any]
    split_hash: str
    images: Mapping[str, int]
    epochs: tuple[Epoch, ...]
    duration_s: float
    versions: Mapping[str, str | None]
    hardware: Mapping[str, Any]
    commit: str | None
    learned: Learned | None = None
    selection: Selection | None = None
    test: Mapping[str, Figures] | None = None
    study: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def unseen(self) -> str:
        """The one part that is held out."""
        (part,) = self.held_out
        return part


@dataclass(frozen=True)
class Estimate(Subscriptable):
    """A mean over n values.

    Attributes:
        mean: of the values.
        sd: sample standard deviation (ddof 1); None for one value, or where version 1 did not keep it.
        n: number of values.
        ci95: two-sided interval from Student's t; None for one value.
    """

    mean: float
    sd: float | None
    n: int
    ci95: tuple[float, float] | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class SummaryRow(Subscriptable):
    """A recipe in a comparison.

    Attributes:
        domains: the metric on each unseen domain, over seeds.
        average: of the seeds' means over domains.
        vs_erm: paired difference of the averages to the baseline; None without the baseline.
        search_s: mean seconds of learning the augmentation, if it was learned.
    """

    domains: Mapping[str, Estimate]
    average: Estimate
    vs_erm: Estimate | None
    search_s: float | None = None


@dataclass(frozen=True)
class Summary(Subscriptable):
    """A comparison. Values are fractions.

    Attributes:
        data: name of the images.
        selection: the rule that chose the epochs.
        metric: name.
        seeds: of the runs.
        recipes: a row for each recipe.
        recommended: the recipe to use, if one is significantly better than the baseline.
        reason: a sentence that says why.
        protocol: how unseen domains are tested where recipes can adapt to them, in one line; else None.
        schema: version of the format.
        mixed: versions of each package, and the commits, that differ between the runs.
    """

    data: str
    selection: str
    metric: str
    seeds: tuple[int, ...]
    recipes: Mapping[str, SummaryRow]
    recommended: str | None
    reason: str
    protocol: str | None = None
    schema: int = SCHEMA
    mixed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
