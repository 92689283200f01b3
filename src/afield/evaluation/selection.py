"""Rules that select the epoch of a run from its record. Only the oracle uses the unseen domain."""

from collections.abc import Callable, Sequence

from afield.records import Record
from afield.registry import Registry

Rule = Callable[[Record, Sequence[Record]], int]
"""Maps the record of a run and those of its siblings to an epoch index.

Siblings have the same recipe and seed, and one more domain held out.
"""

SELECTIONS: Registry[Rule] = Registry("selection rule")

GULRAJANI = "Gulrajani and Lopez-Paz, In Search of Lost Domain Generalization, ICLR 2021, section 3."


@SELECTIONS.register("train_validation", reference=GULRAJANI)
def train_validation(record: Record, siblings: Sequence[Record] = ()) -> int:
    """Epoch with the best accuracy on validation images of the training domains.

    If several epochs have the same accuracy, the first one is selected.
    """
    return _first_best([epoch.validation["accuracy"] for epoch in record.epochs])


@SELECTIONS.register("last")
def last(record: Record, siblings: Sequence[Record] = ()) -> int:
    """The last epoch."""
    return len(record.epochs) - 1


@SELECTIONS.register("leave_one_out_validation", reference=GULRAJANI)
def leave_one_out_validation(record: Record, siblings: Sequence[Record]) -> int:
    """Epoch with the best accuracy on training domains that are held out in turn (needs more runs).

    Each sibling run trains without the unseen domain of this run and without one training domain. The accuracy of the
    sibling on that training domain is used for validation.
    """
    curves = [
        [epoch.test[other]["accuracy"] for epoch in sibling.epochs]
        for sibling in siblings
        for other in sibling.held_out
        if record.unseen in sibling.held_out and other != record.unseen
    ]
    if not curves:
        raise ValueError("leave_one_out_validation needs runs with two domains held out")
    return _first_best([sum(values) / len(values) for values in zip(*curves, strict=True)])


@SELECTIONS.register("oracle", reference=GULRAJANI)
def oracle(record: Record, siblings: Sequence[Record] = ()) -> int:
    """ORACLE: epoch with the best accuracy on the unseen domain; an upper bound, not a result."""
    return _first_best([epoch.test[record.unseen]["accuracy"] for epoch in record.epochs])


def _first_best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda i: (values[i], -i))
