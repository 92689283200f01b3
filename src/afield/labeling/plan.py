"""Plans the rows of a label file: an audit sample, and images that a strategy chooses."""

from collections.abc import Iterable, Sequence

import torch

from afield.errors import InputError
from afield.labeling.label_file import Purpose, Row
from afield.labeling.select import DEFAULT_STRATEGY, select
from afield.labeling.task import LabelingTask
from afield.objective import Objective

DEFAULT_AUDIT = 30


def plan(
    task: LabelingTask,
    rows: Sequence[Row],
    count: int,
    *,
    audit: int | None = None,
    strategy: str = DEFAULT_STRATEGY,
    seed: int = 0,
    near_duplicates: bool = False,
    objective: Objective | None = None,
) -> list[Row]:
    """Plan the rows of a label file: the existing rows, and new rows up to the sizes of both samples.

    Rows with a label come first. The images to label follow, with the audit sample spread evenly among the chosen
    images.

    Args:
        task: images.
        rows: existing rows of the file; all of them are kept.
        count: number of chosen images, including those in the file.
        audit: size of the audit sample; by default `DEFAULT_AUDIT` for a new file, or the size in the file.
        strategy: name in `STRATEGIES`.
        seed: seed of the audit sample and of the strategy.
        near_duplicates: see `select`.
        objective: objective with the head for the strategy; by default the model's, refitted to the labels.

    Raises:
        InputError: if there are too few images, or the audit sample would grow after images were chosen: the remaining
            images are not a random sample of the place.
    """
    has = {purpose: sum(row.purpose == purpose for row in rows) for purpose in ("audit", "chosen")}
    audit = audit if audit is not None else DEFAULT_AUDIT if not rows else has["audit"]
    if has["chosen"] and audit > has["audit"]:
        raise InputError(
            f"the audit sample has {has['audit']} images and cannot grow to {audit} after images were chosen, because "
            "the other images are not a random sample of the place"
        )
    new_audit, new_chosen = max(audit - has["audit"], 0), max(count - has["chosen"], 0)
    if new_audit + new_chosen > (left := len(task.paths) - len(rows)):
        raise InputError(f"{task.folder} has {left} more images, fewer than the {new_audit + new_chosen} to select")
    if new_audit:
        rows = [*rows, *_rows(task, _drawn(task, rows, new_audit, seed), "audit")]
    if new_chosen:
        objective = objective or task.refitted(rows)
        pool = task.pool(rows, objective, draws=strategy == "bald")
        found = select(pool, new_chosen, strategy, seed=seed, near_duplicates=near_duplicates)
        rows = [*rows, *_rows(task, found.tolist(), "chosen")]
    return in_order(rows)


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows with a label first, then the other rows, with the audit sample spread evenly among the chosen images."""
    rows = sorted(rows, key=lambda row: not row.label)
    parts = ([row for row in rows if row.purpose == purpose] for purpose in ("audit", "chosen"))
    placed = [((i + 0.5) / len(part), row) for part in parts for i, row in enumerate(part) if not row.label]
    return [*(row for row in rows if row.label), *(row for _, row in sorted(placed, key=lambda each: each[0]))]


def _drawn(task: LabelingTask, rows: Sequence[Row], count: int, seed: int) -> list[int]:
    taken = {*task.indices(rows).tolist(), *task.grouped_with(rows).nonzero().flatten().tolist()}
    order = torch.randperm(len(task.paths), generator=torch.Generator().manual_seed(seed)).tolist()
    return [index for index in order if index not in taken][:count]


def _rows(task: LabelingTask, indices: Iterable[int], purpose: Purpose) -> list[Row]:
    return [Row(task.paths[index], "", purpose) for index in indices]
