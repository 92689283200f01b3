"""Distances between features, in blocks of rows, so that features can be larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

ROWS = 8192


class Rows(Protocol):
    """Features ``[N, D]`` that are read some rows at a time: a tensor or `FeatureRows`."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class FeatureRows:
    """Some rows of features, divided by their lengths, without a copy of all rows.

    Attributes:
        features: features ``[N, D]``.
        indices: indices of the rows; all rows by default.
        lengths: divisor of each row of `features`, ``[N, 1]``; 1 by default.
    """

    features: Tensor
    indices: Tensor | None = None
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features if self.indices is None else self.indices)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        rows = rows if self.indices is None else self.indices[rows]
        return self.features[rows] if self.lengths is None else self.features[rows] / self.lengths[rows]


def blocks(count: int) -> Iterator[slice]:
    """Consecutive slices of `ROWS` rows that cover `count` rows."""
    return (slice(start, min(start + ROWS, count)) for start in range(0, count, ROWS))


def squared_norms(features: Rows) -> Tensor:
    """The squared length of each row: ``[N, D]`` -> ``[N]``."""
    return torch.cat([features[rows].square().sum(dim=1) for rows in blocks(len(features))])


def between(block: Tensor, norms: Tensor, centers: Tensor) -> Tensor:
    """The squared distances of rows ``[B, D]`` with these squared norms ``[B]`` to centers ``[C, D]``: ``[B, C]``."""
    lengths = centers.square().sum(dim=1)
    return (block @ centers.T).mul_(-2).add_(norms[:, None]).add_(lengths).clamp_(min=0)


def squared_distances(features: Rows, norms: Tensor, centers: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of rows with their squared distances to all centers, ``[rows, C]``.

    Args:
        features: features ``[N, D]``.
        norms: `squared_norms` of the features, ``[N]``.
        centers: centers ``[C, D]``.
    """
    for rows in blocks(len(features)):
        yield rows, between(features[rows], norms[rows], centers)


def to_nearest(features: Rows, norms: Tensor, centers: Tensor) -> Tensor:
    """The squared distance of each row to its nearest center, ``[N]``; infinite without centers."""
    found = norms.new_full((len(features),), torch.inf)
    for some in centers.split(1024) if len(centers) else ():
        for rows, distances in squared_distances(features, norms, some):
            found[rows] = torch.minimum(found[rows], distances.amin(dim=1))
    return found
