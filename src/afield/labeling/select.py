"""Selects images to label with a named strategy, without near duplicates."""

import math

import torch
from torch import Tensor

from afield.errors import InputError
from afield.labeling.distances import squared_norms, to_nearest
from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES

DEFAULT_STRATEGY = "clue"
NEAR = 0.2
"""Near duplicates are closer than this fraction of the typical distance between two images of the pool."""


def select(
    pool: Pool, count: int, strategy: str = DEFAULT_STRATEGY, *, seed: int = 0, near_duplicates: bool = False
) -> Tensor:
    """Return the indices of images to label, the most important one first.

    Args:
        pool: images.
        count: number of images.
        strategy: name in `STRATEGIES`.
        seed: seed; equal seeds give the same images.
        near_duplicates: whether to allow near duplicates of each other or of labeled images. If False, they are
            selected only if no other images are available.

    Returns:
        int64 ``[count]``.

    Raises:
        InputError: if the strategy is unknown, fewer than `count` images are available, a feature is not finite, or the
            pool lacks an input of the strategy.

    Example:
        >>> features = torch.tensor([[0.0], [0.01], [5.0]])
        >>> select(Pool(features, torch.zeros(3, 2)), 2, "entropy")
        tensor([0, 2])
    """
    choose = STRATEGIES[strategy]
    if not 1 <= count <= (available := int(pool.available.sum())):
        raise InputError(f"can select between 1 and {available:,} of the remaining images, got {count}")
    norms = squared_norms(pool.features)
    if not norms.isfinite().all():
        raise InputError(f"the features of image {int(norms.isfinite().logical_not().nonzero()[0])} are not finite")
    generator = torch.Generator().manual_seed(seed)
    if near_duplicates:
        return choose(pool, count, generator)
    radius = NEAR * typical_distance(pool.features, norms)
    selected: list[int] = []
    distinct = pool.with_excluded(to_nearest(pool.features, norms, pool.features[pool.labeled]) < radius**2)
    while (left := min(count - len(selected), int(distinct.available.sum()))) > 0:
        found = _distinct(choose(distinct, left, generator), pool.features, radius)
        near = to_nearest(pool.features, norms, pool.features[found]) < radius**2
        distinct = distinct.with_labeled(found).with_excluded(near)
        selected += found.tolist()
    if left := count - len(selected):
        selected += choose(pool.with_labeled(torch.tensor(selected, dtype=torch.int64)), left, generator).tolist()
    return torch.tensor(selected)


def typical_distance(features: Tensor, norms: Tensor) -> float:
    """The root mean square distance between two images: features ``[N, D]``, squared norms ``[N]``."""
    return math.sqrt(max(2 * float(norms.mean() - features.mean(dim=0).square().sum()), 0))


def _distinct(found: Tensor, features: Tensor, radius: float) -> Tensor:
    """Remove near duplicates of earlier images from these indices."""
    near = torch.cdist(features[found], features[found], compute_mode="donot_use_mm_for_euclid_dist") < radius
    kept: list[int] = []
    for i in range(len(found)):
        if not near[i, kept].any():
            kept.append(i)
    return found[kept]
