"""TypiClust: selection of the most typical image of each cluster."""

import torch
from torch import Tensor

from afield.labeling.distances import FeatureRows, Rows, blocks, squared_distances, squared_norms
from afield.labeling.kmeans import kmeans
from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES

MOST_CLUSTERS = 500
SMALLEST_CLUSTER = 5
NEIGHBORS = 20
NEIGHBORS_AMONG = 4096


@STRATEGIES.register("typiclust", reference="Hacohen, Dekel and Weinshall, Active Learning on a Budget, ICML 2022.")
def typiclust(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Chooses the most typical image of each cluster without labels, largest clusters first.

    As in the published code, features are on the unit sphere, there is one cluster for each labeled and each chosen
    image, up to `MOST_CLUSTERS`, and clusters of fewer than `SMALLEST_CLUSTER` images come last. In a cluster of more
    than `NEIGHBORS_AMONG` images, typicality is estimated from `NEIGHBORS_AMONG` random images.

    References:
        Hacohen, Dekel and Weinshall, ICML 2022, algorithm 1.
    """
    norms = [pool.features[rows].norm(dim=1, keepdim=True) for rows in blocks(len(pool))]
    lengths = torch.cat(norms).clamp_(min=1e-12)
    clusters = min(int(pool.labeled.sum()) + count, MOST_CLUSTERS, len(pool))
    _, assigned = kmeans(FeatureRows(pool.features, lengths=lengths), clusters, generator)
    sizes = assigned.bincount(minlength=clusters).tolist()
    labels = assigned[pool.labeled].bincount(minlength=clusters).tolist()
    order = sorted(range(clusters), key=lambda cluster: (labels[cluster], -sizes[cluster]))
    unlabeled, available = ~pool.labeled, pool.available.clone()
    chosen: list[int] = []
    while len(chosen) < count:
        left = assigned[available].bincount(minlength=clusters).tolist()
        some = [cluster for cluster in order if left[cluster]]
        some = [cluster for cluster in some if sizes[cluster] >= SMALLEST_CLUSTER] or some
        for cluster in some[: count - len(chosen)]:
            members = ((assigned == cluster) & unlabeled).nonzero().squeeze(1)
            scores = typicality(FeatureRows(pool.features, members, lengths), generator)
            scores = scores.masked_fill(~available[members], -1)
            index = int(members[scores.argmax()])
            chosen.append(index)
            unlabeled[index] = available[index] = False
    return torch.tensor(chosen)


def typicality(features: Rows, generator: torch.Generator) -> Tensor:
    """The inverse of the mean distance to the nearest neighbors, for each image of a cluster.

    Args:
        features: features of the cluster, ``[M, D]``.
        generator: draws `NEIGHBORS_AMONG` images in which neighbors are searched, if there are more.

    Returns:
        ``[M]``.

    References:
        Hacohen, Dekel and Weinshall, ICML 2022, equation 1.
    """
    size = len(features)
    among = torch.arange(size)
    if size > NEIGHBORS_AMONG:
        among = torch.randperm(size, generator=generator)[:NEIGHBORS_AMONG].sort().values
    neighbors = min(NEIGHBORS, len(among) // 2)
    norms = squared_norms(features)
    found = torch.empty_like(norms)
    for rows, distances in squared_distances(features, norms, features[among]):
        distances[torch.arange(rows.start, rows.stop)[:, None] == among] = torch.inf  # distance of an image to itself
        found[rows] = distances.topk(neighbors, dim=1, largest=False).values.sqrt().mean(dim=1)
    return 1 / (found.nan_to_num(0) + 1e-5)
