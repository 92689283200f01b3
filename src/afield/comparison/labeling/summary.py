"""The summary of a comparison of strategies: accuracy by number of labels, and paired differences to random."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from afield.comparison.labeling.study import BASELINE, Repetition
from afield.comparison.summary import recommend
from afield.evaluation import Estimate, estimate, paired_difference
from afield.runs.provenance import provenance

AVERAGE = "average"


@dataclass(frozen=True)
class Cell:
    """The results of a strategy with some number of labels.

    Attributes:
        accuracy: estimate of the accuracy over repetitions, a fraction.
        vs_random: difference to random sampling, paired by repetition.
    """

    accuracy: Estimate
    vs_random: Estimate

    @property
    def significant(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        return self.vs_random.excludes_zero


Rows = Mapping[str, Mapping[str, Mapping[str, Cell]]]
"""Results by strategy, by domain or `AVERAGE`, and by number of labels as text."""


@dataclass(frozen=True)
class LabelingSummary:
    """The summary of a comparison of strategies.

    Attributes:
        data: name of the data set.
        backbone: name of the backbone and its weights.
        budgets: numbers of labels.
        trust: trust of the refit.
        repetitions: number of repetitions.
        rows: results.
        recommended: strategy with the best average at the largest budget, if it is significantly better (`recommend`).
        reason: explanation of the recommendation, a sentence.
        provenance: versions, hardware and commit.
    """

    data: str
    backbone: str
    budgets: tuple[int, ...]
    trust: float
    repetitions: int
    rows: Rows
    recommended: str | None
    reason: str
    provenance: Mapping[str, Any]


def labeling_rows(records: Sequence[Repetition]) -> Rows:
    """The results of each strategy at each domain, and on average over domains within each repetition.

    Args:
        records: records of all strategies, `BASELINE` among them, with the same domains, repetitions and budgets.
    """
    budgets = [str(budget) for budget in (0, *records[0].budgets)]
    found = _accuracies(records)
    return {
        strategy: {
            domain: {
                budget: Cell(estimate(ours), paired_difference(ours, theirs))
                for budget, ours, theirs in zip(budgets, values.T, found[BASELINE][domain].T, strict=True)
            }
            for domain, values in row.items()
        }
        for strategy, row in found.items()
    }


def summarize_labeling(records: Sequence[Repetition], data: str, backbone: str) -> LabelingSummary:
    """Summarize the records of a comparison, and recommend a strategy for the largest budget."""
    budgets = records[0].budgets
    values = {
        name: [found[:, -1].tolist() for domain, found in row.items() if domain != AVERAGE]
        for name, row in _accuracies(records).items()
    }
    recommended, reason = recommend(values, baseline=BASELINE)
    return LabelingSummary(
        data,
        backbone,
        budgets,
        records[0].trust,
        len(values[BASELINE][0]),
        labeling_rows(records),
        recommended,
        f"with {budgets[-1]} labels, {reason}",
        provenance(),
    )


def _accuracies(records: Sequence[Repetition]) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Accuracies ``[repetitions, numbers of labels]`` by strategy, and by domain or `AVERAGE`."""
    lists: dict[str, dict[str, list[list[float]]]] = {}
    for record in sorted(records, key=lambda record: record.repetition):
        values = [record.accuracy[str(budget)] for budget in (0, *record.budgets)]
        lists.setdefault(record.strategy, {}).setdefault(record.domain, []).append(values)
    arrays = {name: {domain: np.array(rows) for domain, rows in row.items()} for name, row in lists.items()}
    return {name: {**row, AVERAGE: np.mean(list(row.values()), axis=0)} for name, row in arrays.items()}
