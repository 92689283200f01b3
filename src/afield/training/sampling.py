"""Which examples make up the batches of an epoch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from afield.errors import InputError

Positions = NDArray[np.int64]


def shuffled(domain_of: NDArray[np.int64], batch: int, rng: np.random.Generator) -> list[Positions]:
    """Positions of all N examples in random order, cut into whole batches; the rest is left out."""
    order, steps = rng.permutation(len(domain_of)), len(domain_of) // batch
    return np.split(order[: steps * batch], steps)


def balanced(domain_of: NDArray[np.int64], batch: int, rng: np.random.Generator) -> list[Positions]:
    """As many batches, each with equally many examples of every domain.

    A domain goes round in random order, and begins anew, in another order, where it is at its end before the epoch
    is. What is left of a batch that the domains do not divide is left out. The domains alternate within a batch.

    Args:
        domain_of: domain of each example, ``[N]``, from 0 to E - 1.
        batch: examples a batch, at most.
        rng: draws the orders.

    Raises:
        InputError: smaller batches than there are domains.
    """
    members = [np.flatnonzero(domain_of == domain) for domain in range(domain_of.max() + 1)]
    steps, share = len(domain_of) // batch, batch // len(members)
    if not share:
        raise InputError(f"balanced batches need --batch-size {len(members)} or more, one image of each domain")
    wanted = steps * share
    rounds = [np.concatenate([rng.permutation(m) for _ in range(-(-wanted // len(m)))])[:wanted] for m in members]
    return np.split(np.stack(rounds, axis=1).ravel(), steps)
