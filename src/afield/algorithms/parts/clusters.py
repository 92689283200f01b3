"""k-means clusters of vectors, numbered consistently from one clustering to the next."""

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor


def cluster(vectors: Tensor, count: int) -> Tensor:
    """Vectors ``[N, D]`` -> the cluster index of each, ``[N]``: the best of ten runs of k-means.

    PyTorch's global generator provides the seed. k-means uses one thread, because with several threads the order of
    summation, and so the result, changes from call to call.
    """
    seed = int(torch.randint(2**31, ()))
    with threadpool_limits(1):
        from sklearn.cluster import KMeans

        found = KMeans(count, n_init=10, random_state=seed).fit_predict(vectors.double().cpu().numpy())
    return torch.from_numpy(found).long().to(vectors.device)


def renumbered(found: Tensor, before: Tensor, count: int) -> Tensor:
    """Renumber the clusters ``[N]`` so that as many examples as possible keep their previous cluster index.

    Args:
        found: new cluster indices, from 0 to count - 1.
        before: previous cluster indices, ``[N]``.
        count: number of clusters.
    """
    from scipy.optimize import linear_sum_assignment

    shared = np.zeros((count, count), dtype=np.int64)
    np.add.at(shared, (found.cpu().numpy(), before.cpu().numpy()), 1)
    _, numbers = linear_sum_assignment(shared, maximize=True)
    return torch.from_numpy(numbers).to(found.device)[found]
