"""Weighted k-means with k-means++ initialization, in blocks. Unlike sums over threads, it is deterministic."""

import torch
from torch import Tensor

from afield.labeling.distances import Rows, between, blocks, squared_norms

SEEDING_ROWS = 16_384


def kmeans(
    features: Rows, count: int, generator: torch.Generator, weights: Tensor | None = None, *, rounds: int = 15
) -> tuple[Tensor, Tensor]:
    """Return the centers ``[C, D]`` and the cluster of each row ``[N]``.

    Centers are initialized by k-means++ on at most `SEEDING_ROWS` random rows. An empty cluster keeps its center.

    Args:
        features: features ``[N, D]``.
        count: C, at most N.
        generator: draws the first centers.
        weights: weight of each row, ``[N]``; equal by default.
        rounds: largest number of iterations. The iteration ends earlier if at most one row in a thousand changes its
            cluster.

    References:
        Lloyd, "Least squares quantization in PCM", 1982. Arthur and Vassilvitskii, "k-means++", SODA 2007.
    """
    norms = squared_norms(features)
    weights = torch.ones_like(norms) if weights is None else weights.to(norms.dtype)
    rows = torch.arange(len(features))
    if len(rows) > SEEDING_ROWS:
        rows = torch.randperm(len(rows), generator=generator)[:SEEDING_ROWS].sort().values
    centers = features[rows[_seeds(features[rows], norms[rows], count, generator, weights[rows])]].clone()
    assigned, means = _assign(features, norms, weights, centers)
    for _ in range(rounds):
        before, centers = assigned, means
        assigned, means = _assign(features, norms, weights, centers)
        if (before != assigned).sum() <= len(features) // 1000:
            break
    return centers, assigned


def drawn(weights: Tensor, generator: torch.Generator) -> int:
    """Draw one index with probability proportional to weights ``[N]``, at least one of them positive."""
    total = weights.double().cumsum(dim=0)
    point = torch.rand((), dtype=torch.float64, generator=generator) * total[-1]
    found = int(torch.searchsorted(total, point, right=True))
    return min(found, int(weights.nonzero()[-1]))  # rounding can move the point to the end


def _seeds(features: Tensor, norms: Tensor, count: int, generator: torch.Generator, weights: Tensor) -> Tensor:
    """Indices of k-means++: each one is drawn by its weight times the squared distance to the nearest previous one."""
    chosen = [drawn(weights if weights.any() else torch.ones_like(weights), generator)]
    nearest = torch.full_like(norms, torch.inf)
    for _ in range(count - 1):
        row = features[chosen[-1]]
        nearest = torch.minimum(nearest, (norms - 2 * (features @ row) + row @ row).clamp_(min=0))
        nearest[chosen] = 0
        scores = weights * nearest
        if not scores.any():  # all other rows are copies of the chosen rows
            scores = torch.ones_like(weights)
            scores[chosen] = 0
        chosen.append(drawn(scores, generator))
    return torch.tensor(chosen)


def _assign(features: Rows, norms: Tensor, weights: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest center of each row ``[N]``, and the weighted mean of the rows of each center ``[C, D]``."""
    assigned = torch.empty(len(features), dtype=torch.int64)
    sums, totals = torch.zeros_like(centers), centers.new_zeros(len(centers))
    for rows in blocks(len(features)):
        block = features[rows]
        nearest = assigned[rows] = between(block, norms[rows], centers).argmin(dim=1)
        index = torch.stack([nearest, torch.arange(len(block))])
        member = torch.sparse_coo_tensor(index, weights[rows], (len(centers), len(block)), check_invariants=False)
        sums += member @ block
        totals.index_add_(0, nearest, weights[rows])
    return assigned, torch.where(totals[:, None] > 0, sums / totals[:, None], centers)
