"""Which epoch of a run counts. Pure functions over records; none but the oracle sees the unseen domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from afield.records import Record
from afield.registry import Registry

Rule = Callable[[Record, Sequence[Record]], int]
"""A run's record, and the records of its siblings (same recipe and seed, one more domain left out) -> index."""

SELECTIONS: Registry[Rule] = Registry("selection rule")

GULRAJANI = "Gulrajani and Lopez-Paz, In Search of Lost Domain Generalization, ICLR 2021, section 3."


@SELECTIONS.register("train_validation", reference=GULRAJANI)
def train_validation(record: Record, siblings: Sequence[Record] = ()) -> int:
    """Epoch of best accuracy on held-back images of the training domains.

    The first of them, if several are best.
    """
    return _first_best([epoch.validation["accuracy"] for epoch in record.epochs])


@SELECTIONS.register("last")
def last(record: Record, siblings: Sequence[Record] = ()) -> int:
    """The last epoch."""
    return len(record.epochs) - 1


@SELECTIONS.register("leave_one_out_validation", reference=GULRAJANI)
def leave_one_out_validation(record: Record, siblings: Sequence[Record]) -> int:
    """Epoch of best accuracy on training domains left out in turn (more runs).

    Each sibling was trained without this run's unseen domain and one training domain more; its accuracy on the
    latter is a validation figure.
    """
    curves = [
        [epoch.test[other]["accuracy"] for epoch in sibling.epochs]
        for sibling in siblings
        for other in sibling.held_out
        if record.unseen in sibling.held_out and other != record.unseen
    ]
    if not curves:
        raise ValueError("leave_one_out_validation needs runs with two domains left out")
    return _first_best([sum(values) / len(values) for values in zip(*curves, strict=True)])


@SELECTIONS.register("oracle", reference=GULRAJANI)
def oracle(record: Record, siblings: Sequence[Record] = ()) -> int:
    """ORACLE: epoch of best accuracy on the unseen domain; an upper bound, not a result."""
    return _first_best([epoch.test[record.unseen]["accuracy"] for epoch in record.epochs])


def _first_best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda i: (values[i], -i))
