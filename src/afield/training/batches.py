"""Batches with all that an algorithm needs to know of their examples."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from lightning_fabric import Fabric
from torch import Tensor

from afield.algorithms import Batch
from afield.pixels import as_floats
from afield.training.sampling import Positions
from afield.training.subset import Subset


def labeled(
    inputs: Tensor,
    targets: Tensor,
    source: Subset,
    positions: Positions,
    progress: float,
    fabric: Fabric,
    unlabeled: Tensor | None = None,
) -> Batch:
    """Inputs and targets with the examples' domains and indices; `progress` is the fraction of steps done."""
    domains, indices = fabric.to_device((torch.from_numpy(source.domain_of[positions]), torch.from_numpy(positions)))
    return Batch(inputs, targets, domains, indices, progress, unlabeled)


def micro_batch(batch: Batch, index: int, count: int) -> Batch:
    """One of `count` equal parts of a batch, each of consecutive rows."""
    rows = slice(len(batch.indices) * index // count, len(batch.indices) * (index + 1) // count)
    inputs, targets, domains, indices = (values[rows] for values in batch[:4])
    target = None if batch.target is None else batch.target[rows]
    return Batch(inputs, targets, domains, indices, batch.progress, target)


def in_order(source: Subset, batch: int, progress: float, fabric: Fabric) -> Iterator[Batch]:
    """A pass over all examples in order, without augmentation."""
    for rows, *examples in source.in_order(batch):
        inputs, targets = fabric.to_device(examples)
        yield labeled(as_floats(inputs), targets, source, rows, progress, fabric)
