"""Rules that select the epoch of a run from its record. Only the oracle uses the unseen domain."""

from collections.abc import Callable, Sequence

from afield.errors import InputError
from afield.evaluation.registry import METRICS
from afield.records import Figures, Record
from afield.registry import Registry

Rule = Callable[[Record, Sequence[Record], str], int]
"""Maps the record of a run, those of its siblings and the name of a metric to an epoch index.

Siblings have the same recipe and seed, and one more domain held out.
"""

SELECTIONS: Registry[Rule] = Registry("selection rule")

GULRAJANI = "Gulrajani and Lopez-Paz, In Search of Lost Domain Generalization, ICLR 2021, section 3."


@SELECTIONS.register("train_validation", reference=GULRAJANI)
def train_validation(record: Record, siblings: Sequence[Record] = (), metric: str = "accuracy") -> int:
    """Epoch with the best metric on validation images of the training domains.

    If several epochs have the same value, the first one is selected.
    """
    return first_best(metric, [epoch.validation for epoch in record.epochs])


@SELECTIONS.register("last")
def last(record: Record, siblings: Sequence[Record] = (), metric: str = "accuracy") -> int:
    """The last epoch."""
    return len(record.epochs) - 1


@SELECTIONS.register("leave_one_out_validation", reference=GULRAJANI)
def leave_one_out_validation(record: Record, siblings: Sequence[Record], metric: str = "accuracy") -> int:
    """Epoch with the best metric on training domains that are held out in turn (needs more runs).

    Each sibling run trains without the unseen domain of this run and without one training domain. The value of the
    sibling on that training domain is used for validation.
    """
    return first_best(metric, _left_out(record, siblings, metric))


@SELECTIONS.register("oracle", reference=GULRAJANI)
def oracle(record: Record, siblings: Sequence[Record] = (), metric: str = "accuracy") -> int:
    """ORACLE: epoch with the best metric on the unseen domain; an upper bound, not a result."""
    return first_best(metric, [epoch.test[record.unseen] for epoch in record.epochs])


def selected_value(rule: str, record: Record, siblings: Sequence[Record] = (), metric: str = "accuracy") -> float:
    """The value of the metric at the epoch that a rule selects, on the images that the rule looks at.

    It compares runs with different settings. The rule ``last`` looks at validation images.

    Args:
        rule: name of the rule.
        record: record of the run.
        siblings: see `Rule`.
        metric: name of the metric.
    """
    epoch = SELECTIONS[rule](record, siblings, metric)
    if rule == "oracle":
        return figure(record.epochs[epoch].test[record.unseen], metric)
    if rule == "leave_one_out_validation":
        return _left_out(record, siblings, metric)[epoch][metric]
    return figure(record.epochs[epoch].validation, metric)


def _left_out(record: Record, siblings: Sequence[Record], metric: str) -> list[dict[str, float]]:
    """For each epoch, the mean of the metric on the training domains that siblings hold out in turn."""
    curves = [
        [figure(epoch.test[other], metric) for epoch in sibling.epochs]
        for sibling in siblings
        for other in sibling.held_out
        if record.unseen in sibling.held_out and other != record.unseen
    ]
    if not curves:
        raise ValueError("leave_one_out_validation needs runs with two domains held out")
    return [{metric: sum(values) / len(values)} for values in zip(*curves, strict=True)]


def first_best(metric: str, epochs: Sequence[Figures]) -> int:
    """The index of the first of the epochs with the best value of this metric."""
    values = [METRICS[metric].sign * figure(figures, metric) for figures in epochs]
    return values.index(max(values))


def figure(figures: Figures, metric: str) -> float:
    """The value of a metric in a record. Raises `InputError` if the record does not contain this metric."""
    if metric not in figures:
        known = ", ".join(name for name in METRICS.names if name in figures)
        raise InputError(f"a record does not contain the metric {metric}, as in earlier versions; it contains {known}")
    return figures[metric]
