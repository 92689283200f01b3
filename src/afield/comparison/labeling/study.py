"""One repetition of a comparison of strategies: choose labels at a new place, refit the head, and measure it."""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from afield.data import ImageSet
from afield.errors import InputError
from afield.heads import LinearHead
from afield.labeling import STRATEGIES, Pool, select
from afield.labeling.bald import dropout_draws
from afield.labeling.refit import DEFAULT_TRUST, Labeled, choose_trust, refit
from afield.objective import Objective
from afield.records import seed_for
from afield.runs.provenance import provenance

BASELINE = "random"
BUDGETS = (7, 14, 28, 50, 105, 200)
SOURCE_IMAGES = 50
"""Number of images of each class and training domain on which the first head is trained."""

LACKS = {
    "learning_loss": "the losses that a trained LossPrediction module predicts",
    "structured": "sequences of images",
}
"""Strategies that cannot be compared on frozen features, and what they need."""


@dataclass(frozen=True)
class Repetition:
    """The record of one strategy at one new place.

    Attributes:
        strategy: name in `STRATEGIES`.
        domain: name of the new place.
        repetition: number of the repetition, which is the seed of its random choices.
        budgets: numbers of labels after which accuracy is measured.
        trust: trust of the refit; 0 if it is chosen by cross-validation.
        accuracy: accuracy by number of labels, including 0.
        seconds: duration in seconds.
        commit: commit of the source checkout, if afield ran from one.
    """

    strategy: str
    domain: str
    repetition: int
    budgets: tuple[int, ...]
    trust: float
    accuracy: Mapping[str, float]
    seconds: float
    commit: str | None

    @property
    def key(self) -> tuple[Any, ...]:
        """All settings that determine the accuracy, for given features."""
        return self.strategy, self.domain, self.repetition, self.budgets, self.trust

    @property
    def label(self) -> str:
        """A readable name."""
        return label_of(self.key)


@dataclass(frozen=True)
class LabelingStudy:
    """Features and labels of all images, and how strategies are compared on them.

    A repetition splits the new place into halves. Labels are chosen in one half, in rounds up to each budget, and the
    head is refitted after each round; accuracy is measured on the other half. All strategies of a repetition have the
    same halves and the same first head, which is trained on images of the other domains.

    Attributes:
        features: features ``[N, D]``; can be a memory map.
        labels: classes ``[N]``.
        domains: indices into `domain_names`, ``[N]``.
        domain_names: names of the domains.
        budgets: numbers of labels, increasing.
        trust: trust of the refit (`afield.labeling.refit`); 0 chooses it by cross-validation.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    domains: NDArray[np.int64]
    domain_names: tuple[str, ...]
    budgets: tuple[int, ...] = BUDGETS
    trust: float = DEFAULT_TRUST

    def key(self, strategy: str, domain: int, repetition: int) -> tuple[Any, ...]:
        """The key of a record; see `Repetition.key`."""
        return strategy, self.domain_names[domain], repetition, self.budgets, self.trust

    def repeat(self, strategy: str, domain: int, repetition: int) -> Repetition:
        """Measure the accuracy of one strategy without labels and at each budget."""
        start = time.perf_counter()
        pool, test = self._halves(domain, repetition)
        first = head = self._first_head(domain, repetition)
        chosen = torch.zeros(0, dtype=torch.int64)
        accuracies = {"0": _accuracy(head, test)}
        for budget in self.budgets:
            labeled = torch.zeros(len(pool), dtype=torch.bool)
            labeled[chosen] = True
            draws = dropout_draws(head, pool.features) if strategy == "bald" else None
            images = Pool(pool.features, head.logits(pool.features), labeled, draws=draws)
            found = select(images, budget - len(chosen), strategy, seed=seed_for("choice", domain, repetition) % 2**31)
            chosen = torch.cat([chosen, found])
            target = pool.part(chosen)
            head = refit(first, target, trust=self.trust or choose_trust(first, target))
            accuracies[str(budget)] = _accuracy(head, test)
        name, seconds, commit = self.domain_names[domain], time.perf_counter() - start, provenance()["commit"]
        return Repetition(strategy, name, repetition, self.budgets, self.trust, accuracies, round(seconds, 3), commit)

    def _part(self, rows: NDArray[np.int64]) -> Labeled:
        return Labeled(torch.from_numpy(np.asarray(self.features[rows])), torch.from_numpy(self.labels[rows]))

    def _halves(self, domain: int, repetition: int) -> tuple[Labeled, Labeled]:
        """The half of a domain in which labels are chosen, and the half on which accuracy is measured."""
        rows = _shuffled(self.domains == domain, _generator("halves", domain, repetition))
        return self._part(rows[: len(rows) // 2]), self._part(rows[len(rows) // 2 :])

    def _first_head(self, domain: int, repetition: int) -> Objective:
        """A head that is trained on some images of the other domains."""
        generator, parts = _generator("sources", domain, repetition), []
        for other, label in itertools.product(np.unique(self.domains), np.unique(self.labels)):
            if other != domain:
                rows = _shuffled((self.domains == other) & (self.labels == label), generator)
                parts.append(rows[:SOURCE_IMAGES])
        source = self._part(np.concatenate(parts))
        objective = Objective(LinearHead(self.features.shape[1], int(self.labels.max()) + 1), {"cross_entropy": 1.0})
        for weight in objective.head.parameters():
            torch.nn.init.zeros_(weight)
        return refit(objective, source, trust=0.05 * len(source))


def label_of(key: tuple[Any, ...]) -> str:
    """A readable name of the repetition with this key."""
    strategy, domain, repetition, *_ = key
    return f"{strategy}, new place {domain}, seed {repetition}"


def budgets_up_to(last: int) -> tuple[int, ...]:
    """The usual budgets below `last`, and `last`.

    >>> budgets_up_to(30)
    (7, 14, 28, 30)
    """
    return (*(budget for budget in BUDGETS if budget < last), last)


def check_budget(data: ImageSet, budget: int) -> None:
    """Raise `InputError` if there is only one domain, or half of a domain has fewer images than the budget."""
    if not data.has_domains:
        raise InputError(f"labeling strategies are compared on several domains; {data.name} has one")
    sizes = np.bincount(data.domains, minlength=len(data.domain_names))
    smallest = int(sizes.argmin())
    if budget > sizes[smallest] // 2:
        raise InputError(
            f"the label budget must be at most {sizes[smallest] // 2}, half of the {sizes[smallest]} images of domain "
            f"{data.domain_names[smallest]!r}, got {budget}"
        )


def strategies_to_compare(names: Sequence[str]) -> tuple[str, ...]:
    """The names without repetitions, with `BASELINE` first.

    Raises:
        InputError: if a strategy is unknown or needs more than features and logits, or there is only the baseline.
    """
    for name in names:
        STRATEGIES.entry(name)
        if name in LACKS:
            raise InputError(f"strategy {name} needs {LACKS[name]}; a comparison on frozen features has none")
    found = tuple(dict.fromkeys((BASELINE, *names)))
    if len(found) == 1:
        raise InputError(f"a comparison of labeling strategies needs a strategy other than {BASELINE}")
    return found


def _accuracy(head: Objective, test: Labeled) -> float:
    return float((head.logits(test.features).argmax(dim=1) == test.labels).double().mean())


def _shuffled(mask: NDArray[np.bool_], generator: torch.Generator) -> NDArray[np.int64]:
    rows = np.flatnonzero(mask)
    return rows[torch.randperm(len(rows), generator=generator).numpy()]


def _generator(*names: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for("labeling", *names))
