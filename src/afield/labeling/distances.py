"""Distances between features, in blocks of rows to limit memory."""

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS = 8192


def blocks(count: int) -> Iterator[slice]:
    """Consecutive slices of `ROWS` rows that cover `count` rows."""
    return (slice(start, min(start + ROWS, count)) for start in range(0, count, ROWS))


def squared_norms(features: Tensor) -> Tensor:
    """The squared length of each row: ``[N, D]`` -> ``[N]``."""
    return torch.cat([features[rows].square().sum(dim=1) for rows in blocks(len(features))])


def squared_distances(features: Tensor, norms: Tensor, centers: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of rows with their squared distances to all centers, ``[rows, C]``.

    Args:
        features: features ``[N, D]``.
        norms: `squared_norms` of the features, ``[N]``.
        centers: centers ``[C, D]``.
    """
    lengths = centers.square().sum(dim=1)
    for rows in blocks(len(features)):
        products = features[rows] @ centers.T
        yield rows, products.mul_(-2).add_(norms[rows, None]).add_(lengths).clamp_(min=0)


def to_nearest(features: Tensor, norms: Tensor, centers: Tensor) -> Tensor:
    """The squared distance of each row to its nearest center, ``[N]``; infinite without centers."""
    found = features.new_full((len(features),), torch.inf)
    for some in centers.split(1024) if len(centers) else ():
        for rows, distances in squared_distances(features, norms, some):
            found[rows] = torch.minimum(found[rows], distances.amin(dim=1))
    return found
