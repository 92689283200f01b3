"""The batches of an epoch, as an algorithm sees them."""

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
    inputs: Tensor, targets: Tensor, source: Subset, positions: Positions, progress: float, fabric: Fabric
) -> Batch:
    """Inputs and targets with what is known of the examples; `progress` is the share of all steps that are done."""
    domains, places = fabric.to_device((torch.from_numpy(source.domain_of[positions]), torch.from_numpy(positions)))
    return Batch(inputs, targets, domains, places, progress)


def share(batch: Batch, part: int, parts: int) -> Batch:
    """One of so many equal parts of a batch, neighbors together."""
    rows = slice(len(batch.places) * part // parts, len(batch.places) * (part + 1) // parts)
    return batch._replace(
        inputs=batch.inputs[rows],
        targets=batch.targets[rows],
        domains=batch.domains[rows],
        places=batch.places[rows],
    )


def in_order(source: Subset, batch: int, progress: float, fabric: Fabric) -> Iterator[Batch]:
    """A pass over all examples, as they are."""
    for rows, *examples in source.in_order(batch):
        inputs, targets = fabric.to_device(examples)
        yield labeled(as_floats(inputs), targets, source, rows, progress, fabric)
