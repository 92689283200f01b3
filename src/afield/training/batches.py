"""Sampling of the batches of an epoch, and their inputs, targets, domains and indices."""

from collections.abc import Iterator

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from afield.algorithms import Batch
from afield.errors import InputError
from afield.pixels import as_floats
from afield.training.subset import Subset

Positions = NDArray[np.int64]


def shuffled(source: Subset, batch: int, rng: np.random.Generator) -> list[Positions]:
    """Positions of all N examples in random order, divided into full batches. The remainder is dropped."""
    order, steps = source.order(batch, rng), len(source) // batch
    return np.split(order[: steps * batch], steps)


def in_rounds(source: Subset, batch: int, batches: int, rng: np.random.Generator) -> list[Positions]:
    """Positions for `batches` batches of `batch` examples each. All examples are used in random order, repeatedly."""
    everything = np.arange(len(source))
    rounds = [source.shuffled(everything, rng) for _ in range(-(-batch * batches // len(source)))]
    return np.split(np.concatenate(rounds)[: batch * batches], batches)


def balanced(source: Subset, batch: int, rng: np.random.Generator) -> list[Positions]:
    """Batches with the same number of examples from each domain. The number of batches is that of `shuffled`.

    The examples of a domain are used in random order, and again in a new random order when all have been used. If the
    batch size is not a multiple of the number of domains, it is rounded down. The domains alternate within a batch.

    Args:
        source: N examples of E domains.
        batch: largest number of examples in a batch.
        rng: generator of the random orders.

    Raises:
        InputError: if the batch size is smaller than the number of domains.
    """
    members = [np.flatnonzero(source.domain_of == domain) for domain in range(len(source.domain_sizes))]
    steps, per_domain = len(source) // batch, batch // len(members)
    if not per_domain:
        raise InputError(f"balanced batches need --batch-size {len(members)} or more, one image of each domain")
    wanted = steps * per_domain
    rounds = [np.concatenate([source.shuffled(m, rng) for _ in range(-(-wanted // len(m)))])[:wanted] for m in members]
    return np.split(np.stack(rounds, axis=1).ravel(), steps)


def labeled(
    inputs: Tensor,
    targets: Tensor,
    source: Subset,
    positions: Positions,
    progress: float,
    fabric: Fabric,
    unlabeled: Tensor | None = None,
) -> Batch:
    """Add domains and indices to inputs and targets. `progress` is the fraction of the steps that are done."""
    domains, indices = fabric.to_device((torch.from_numpy(source.domain_of[positions]), torch.from_numpy(positions)))
    return Batch(inputs, targets, domains, indices, progress, unlabeled)


def micro_batch(batch: Batch, index: int, count: int) -> Batch:
    """Part `index` of `count` equal parts of a batch, with consecutive rows."""
    rows = slice(len(batch.indices) * index // count, len(batch.indices) * (index + 1) // count)
    inputs, targets, domains, indices = (values[rows] for values in batch[:4])
    target = None if batch.target is None else batch.target[rows]
    return Batch(inputs, targets, domains, indices, batch.progress, target)


def in_order(source: Subset, batch: int, progress: float, fabric: Fabric) -> Iterator[Batch]:
    """Iterate over all examples in order, without augmentation."""
    for rows, *examples in source.in_order(batch):
        inputs, targets = fabric.to_device(examples)
        yield labeled(as_floats(inputs), targets, source, rows, progress, fabric)
