"""Weighted k-means with k-means++ initialization, in blocks. Unlike sums over threads, it is deterministic."""

import torch
from torch import Tensor

from afield.labeling.distances import blocks, squared_distances, squared_norms

SEEDING_ROWS = 16_384


def kmeans(
    features: Tensor, count: int, generator: torch.Generator, weights: Tensor | None = None, *, rounds: int = 15
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
    weights = features.new_ones(len(features)) if weights is None else weights.to(features.dtype)
    norms = squared_norms(features)
    rows = torch.arange(len(features))
    if len(rows) > SEEDING_ROWS:
        rows = torch.randperm(len(rows), generator=generator)[:SEEDING_ROWS].sort().values
    centers = features[rows[_seeds(features[rows], norms[rows], count, generator, weights[rows])]].clone()
    assigned = _nearest(features, norms, centers)
    for _ in range(rounds):
        centers = _means(features, assigned, weights, centers)
        before, assigned = assigned, _nearest(features, norms, centers)
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


def _nearest(features: Tensor, norms: Tensor, centers: Tensor) -> Tensor:
    found = torch.empty(len(features), dtype=torch.int64)
    for rows, distances in squared_distances(features, norms, centers):
        found[rows] = distances.argmin(dim=1)
    return found


def _means(features: Tensor, assigned: Tensor, weights: Tensor, centers: Tensor) -> Tensor:
    sums, totals = torch.zeros_like(centers), centers.new_zeros(len(centers))
    for rows in blocks(len(features)):
        index = torch.stack([assigned[rows], torch.arange(rows.stop - rows.start)])
        member = torch.sparse_coo_tensor(
            index, weights[rows], (len(centers), rows.stop - rows.start), check_invariants=False
        )
        sums += member @ features[rows]
        totals.index_add_(0, assigned[rows], weights[rows])
    return torch.where(totals[:, None] > 0, sums / totals[:, None], centers)
