"""The records of runs and the summaries of comparisons, as JSON-serializable frozen dataclasses."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 2
"""Version of the record format. A new version changes all run hashes."""

BASELINE = "erm"
"""The recipe that others are compared with, unless another one is named."""

Figures = Mapping[str, float]
"""Metrics or measures by name."""


class Subscriptable(dict[str, Any]):
    """Deprecated use of a record as a dictionary, which it was before: ``record["epochs"]`` or ``"run" in record``.

    The items are the fields, so that `json.dumps`, ``**record`` and ``isinstance(record, dict)`` work.
    """

    def __post_init__(self) -> None:
        self.update(vars(self))

    def __getitem__(self, name: str) -> Any:
        self._warn(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Deprecated access to a field; the default for an unknown name."""
        self._warn(name)
        return super().get(name, default)

    def _warn(self, name: str) -> None:
        warnings.warn(f"[{name!r}] is deprecated; use .{name}", DeprecationWarning, stacklevel=3)


@dataclass(frozen=True)
class Epoch(Subscriptable):
    """The metrics of a run after an epoch.

    Attributes:
        train_loss: mean training loss; None in records of earlier versions that did not save it.
        validation: metrics on the validation images.
        test: metrics on each held-out part.
        train_terms: mean of each term of the training loss, if it has several.
    """

    train_loss: float | None
    validation: Figures
    test: Mapping[str, Figures]
    train_terms: Figures = field(default_factory=dict)


@dataclass(frozen=True)
class Selection(Subscriptable):
    """The selected epoch, from 1, the selection rule and the metric that it used."""

    rule: str
    epoch: int
    metric: str = "accuracy"


@dataclass(frozen=True)
class Learned(Subscriptable):
    """The learned augmentation of a run.

    Attributes:
        kind: name in the registry of learned augmentations.
        settings: settings of the augmentor.
        first_epochs: number of epochs of the classifier before the augmentation was learned.
        epochs: measures of each part by name, for each epoch of learning. The first element is before training.
        collapses: failures by name, with a setting that helps; empty if there is none.
        search_s: duration of learning in seconds; CPU seconds in the study of learned augmentations.
    """

    kind: str
    settings: Mapping[str, Any]
    first_epochs: int
    epochs: tuple[Mapping[str, Figures], ...]
    collapses: Mapping[str, str]
    search_s: float

    @property
    def measures(self) -> Figures:
        """The measures on the validation images after the last epoch."""
        return self.epochs[-1]["validation"]


@dataclass(frozen=True)
class Record(Subscriptable):
    """One training run.

    Attributes:
        run: hash of `config`, the name of the folder of the run.
        recipe: name of the recipe.
        seed: seed of all random choices.
        held_out: parts that were not used for training.
        config: all settings that determine the result.
        split_hash: hash of the split into training, validation and test images.
        images: number of images of each part.
        epochs: metrics of each epoch, or only of the selected epoch in records of reproductions by version 1.
        duration_s: duration in seconds.
        versions: versions of the packages.
        hardware: system, CPU, cores, threads and GPU.
        commit: commit of the source checkout, if afield ran from one.
        learned: the learned augmentation, if there is one.
        selection: the selected epoch, if one was selected.
        test: metrics on each held-out part at the selected epoch.
        study: name of the study in a reproduction.
        details: additional data of a study, or of a combination of several runs (`afield.runs.combine`).
        compared: whether the run belongs to the last comparison of its folder; the records of earlier ones are kept.
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
    compared: bool = True
    schema: int = SCHEMA

    @property
    def unseen(self) -> str:
        """The only held-out part."""
        (part,) = self.held_out
        return part


@dataclass(frozen=True)
class Estimate(Subscriptable):
    """A mean with its confidence interval.

    Attributes:
        mean: mean of the values.
        sd: sample standard deviation (ddof 1); None for one value, or if version 1 did not save it.
        n: number of values.
        ci95: two-sided interval from Student's t distribution; None for fewer than three values.
    """

    mean: float
    sd: float | None
    n: int
    ci95: tuple[float, float] | None

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval and it excludes 0, so that a difference is significant."""
        low, high = self.ci95 or (0.0, 0.0)
        return low > 0 or high < 0

    def as_dict(self) -> dict[str, Any]:
        """The estimate as a dictionary, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class PlaceDifference(Estimate):
    """The difference of two recipes at a new place: the mean over domains, which are a sample of all places.

    ``n`` is the number of domains, ``sd`` the standard deviation of their mean differences, and ``ci95`` the interval
    of the mean difference over all places.

    Attributes:
        better_on: number of domains with a positive mean difference.
        probability: probability that the difference is positive at one more place; None for one domain.
        seed_share: share of the variance of the domains' differences that comes from the seeds; the rest comes from
            the domains. None for one domain or one seed.
    """

    better_on: int
    probability: float | None
    seed_share: float | None


@dataclass(frozen=True)
class SummaryRow(Subscriptable):
    """The results of a recipe in a comparison.

    Attributes:
        domains: estimates of the metric on each unseen domain, over seeds.
        average: estimate of the mean over domains (of the minimum for `worst_domain`), over seeds.
        vs_erm: difference between the average and that of the baseline on these domains, paired by seed; None without
            the baseline.
        search_s: mean duration of learning the augmentation in seconds, if it was learned.
        metrics: averages of all metrics by name, as `average`; empty if the records are of an earlier version.
        at_new_place: difference to the baseline at a new place; None without the baseline.
    """

    domains: Mapping[str, Estimate]
    average: Estimate
    vs_erm: Estimate | None
    search_s: float | None = None
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    at_new_place: PlaceDifference | None = None


@dataclass(frozen=True)
class Summary(Subscriptable):
    """The summary of a comparison. Metrics have the unit of `afield.evaluation.METRICS`; most are fractions.

    Attributes:
        data: name of the data set.
        selection: name of the selection rule.
        metric: name of the metric.
        seeds: seeds of the runs.
        recipes: results of each recipe.
        recommended: name of the recommended recipe, if one is significantly better than the baseline at a new place.
        reason: explanation of the recommendation, a sentence.
        protocol: test protocol of the unseen domains, one line, if recipes can adapt to them; otherwise None.
        schema: version of the format.
        mixed: versions of each package, and the commits, that differ between the runs.
        baseline: name of the recipe that the others are compared with.
        hint: what to try if the best recipe fails in an unseen domain, a sentence; None if it does not.
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
    baseline: str = BASELINE
    hint: str | None = None
