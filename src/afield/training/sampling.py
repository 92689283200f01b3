"""Which examples make up the batches of an epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from afield.errors import InputError
from afield.training.subset import Subset

Positions = NDArray[np.int64]


def shuffled(source: Subset, batch: int, rng: np.random.Generator) -> list[Positions]:
    """Positions of all N examples in random order, divided into whole batches; the rest is left out."""
    order, steps = source.order(batch, rng), len(source) // batch
    return np.split(order[: steps * batch], steps)


def in_rounds(source: Subset, batch: int, batches: int, rng: np.random.Generator) -> list[Positions]:
    """This many batches of exactly `batch` examples: all are passed in random order, again and again."""
    rounds = [rng.permutation(len(source)) for _ in range(-(-batch * batches // len(source)))]
    return np.split(np.concatenate(rounds)[: batch * batches], batches)


def balanced(source: Subset, batch: int, rng: np.random.Generator) -> list[Positions]:
    """As many batches as `shuffled` makes, each with equally many examples of every domain.

    Each domain is passed in random order; a domain that is used up before the end of the epoch is passed again, in
    another order. If the batch size is no multiple of the number of domains, batches are smaller. The domains alternate
    within a batch.

    Args:
        source: N examples of E domains.
        batch: examples a batch, at most.
        rng: draws the orders.

    Raises:
        InputError: batches smaller than the number of domains.
    """
    members = [np.flatnonzero(source.domain_of == domain) for domain in range(len(source.domain_sizes))]
    steps, per_domain = len(source) // batch, batch // len(members)
    if not per_domain:
        raise InputError(f"balanced batches need --batch-size {len(members)} or more, one image of each domain")
    wanted = steps * per_domain
    rounds = [np.concatenate([rng.permutation(m) for _ in range(-(-wanted // len(m)))])[:wanted] for m in members]
    return np.split(np.stack(rounds, axis=1).ravel(), steps)
