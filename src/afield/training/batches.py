"""Sampling of the batches of an epoch, and their inputs, targets, domains and indices."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from afield.algorithms import Batch
from afield.errors import InputError
from afield.fabric import Fabric
from afield.pixels import as_floats
from afield.training.subset import Subset

Positions = NDArray[np.int64]


def shuffled(source: Subset, batch: int, rng: np.random.Generator) -> list[Positions]:
    """Positions of all N examples in random order, divided into full batches. The remainder is dropped."""
    order, steps = source.order(batch, rng), len(source) // batch
    return np.split(order[: steps * batch], steps)


def in_rounds(source: Subset, batch: int, batches: int, rng: np.random.Generator) -> list[Positions]:
    """Positions for `batches` batches of `batch` examples each. All examples are used in random order, repeatedly."""
    return np.split(_rounds(source, np.arange(len(source)), batch * batches, rng), batches)


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
    return np.split(np.stack([_rounds(source, m, wanted, rng) for m in members], axis=1).ravel(), steps)


def class_balanced(source: Subset, batch: int, rng: np.random.Generator) -> list[Positions]:
    """Batches with the same number of examples from each class, up to one. The number of batches is that of `shuffled`.

    All classes of the N examples follow each other in a random order, again and again, also across batches. The
    examples of a class are used in random order, and again in a new random order when all have been used.

    References:
        Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR 2020, section 3.
    """
    labels, steps = source.labels[source.indices], len(source) // batch
    classes = np.unique(labels)
    count = steps * batch
    drawn = np.concatenate([rng.permutation(classes) for _ in range(-(-count // len(classes)))])[:count]
    positions = np.empty_like(drawn)
    for label in classes:
        places = drawn == label
        positions[places] = _rounds(source, np.flatnonzero(labels == label), int(places.sum()), rng)
    return np.split(positions, steps)


def _rounds(source: Subset, members: Positions, count: int, rng: np.random.Generator) -> Positions:
    """`count` of the members: all in random order, and again in a new random order."""
    return np.concatenate([source.shuffled(members, rng) for _ in range(-(-count // len(members)))])[:count]


DRAWS = {"shuffled": shuffled, "balanced": balanced, "class_balanced": class_balanced}
"""How the batches of an epoch are drawn, by the value of the setting `sampling`."""


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
