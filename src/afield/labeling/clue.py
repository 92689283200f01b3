"""CLUE: selection from clusters of uncertain images."""

import torch
from torch import Tensor

from afield.labeling.distances import FeatureRows, Rows, squared_distances, squared_norms
from afield.labeling.entropy import prediction_entropy
from afield.labeling.kmeans import kmeans
from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


@STRATEGIES.register("clue", reference="Prabhu et al., Active Domain Adaptation via Clustering, ICCV 2021.")
def clue(pool: Pool, count: int, generator: torch.Generator, *, temperature: float = 1.0) -> Tensor:
    """Chooses the image nearest to each center of a k-means that weights images by entropy.

    Clusters are ordered by their total entropy, the largest one first.

    Args:
        pool: pool whose available images are clustered.
        count: number of clusters.
        generator: draws the first centers.
        temperature: divisor of the logits; larger values favor diversity, smaller values favor uncertainty.

    References:
        Prabhu, Chandrasekaran, Saenko and Hoffman, ICCV 2021, equation 3 and algorithm 1.
    """
    available = pool.available.nonzero().squeeze(1)
    features = FeatureRows(pool.features, available if len(available) < len(pool) else None)
    weights = prediction_entropy(pool.logits[available] / temperature)
    centers, assigned = kmeans(features, count, generator, weights)
    totals = torch.zeros(count).index_add_(0, assigned, weights.float())
    centers = centers[totals.argsort(descending=True, stable=True)]
    return available[nearest_each(features, centers)]


def nearest_each(features: Rows, centers: Tensor) -> Tensor:
    """The index of the image nearest to each center ``[C]``, in order. No image is returned twice.

    Args:
        features: features ``[N, D]``.
        centers: centers ``[C, D]``, C at most N.
    """
    distances = torch.cat([each for _, each in squared_distances(features, squared_norms(features), centers)])
    chosen = []
    for center in range(len(centers)):
        index = int(distances[:, center].argmin())
        distances[index] = torch.inf
        chosen.append(index)
    return torch.tensor(chosen)
