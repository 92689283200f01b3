"""Clusters of vectors, and the same numbers for the same clusters from one time to the next."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor


def cluster(vectors: Tensor, count: int) -> Tensor:
    """Vectors ``[N, D]`` -> the cluster of each, ``[N]``: the best of ten runs of k-means.

    The runs begin by chance, drawn from PyTorch's global generator, and have one thread: several would add up in
    another order each time.
    """
    seed = int(torch.randint(2**31, ()))
    with threadpool_limits(1):
        found = KMeans(count, n_init=10, random_state=seed).fit_predict(vectors.double().cpu().numpy())
    return torch.from_numpy(found).long().to(vectors.device)


def renumbered(found: Tensor, before: Tensor, count: int) -> Tensor:
    """Clusters ``[N]`` with the numbers by which as many examples as possible stay in the cluster of before, ``[N]``.

    Args:
        found: new clusters, from 0 to count - 1.
        before: the old ones.
        count: of clusters.
    """
    shared = np.zeros((count, count), dtype=np.int64)
    np.add.at(shared, (found.cpu().numpy(), before.cpu().numpy()), 1)
    _, numbers = linear_sum_assignment(shared, maximize=True)
    return torch.from_numpy(numbers).to(found.device)[found]
