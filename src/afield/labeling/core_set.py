"""Core-set selection with the k-center greedy algorithm."""

import torch
from torch import Tensor

from afield.labeling.distances import squared_norms, to_nearest
from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


@STRATEGIES.register(
    "core_set", reference="Sener and Savarese, Active Learning for CNNs: A Core-Set Approach, ICLR 2018."
)
def core_set(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Repeatedly chooses the image farthest from all labeled and chosen images.

    The largest distance of an image to its nearest chosen image is at most twice the optimum (Gonzalez 1985). Without
    labeled images, the first image is drawn at random.

    References:
        Sener and Savarese, ICLR 2018, algorithm 1.
    """
    features, norms = pool.features, squared_norms(pool.features)
    nearest = to_nearest(features, norms, features[pool.labeled])
    chosen: list[int] = []
    if not pool.labeled.any():
        available = pool.available.nonzero().squeeze(1)
        chosen.append(int(available[torch.randint(len(available), (), generator=generator)]))
        nearest = to_nearest(features, norms, features[chosen])
    taken = ~pool.available
    while len(chosen) < count:
        taken[chosen[-1:]] = True
        index = int(nearest.masked_fill(taken, -1).argmax())
        chosen.append(index)
        nearest = torch.minimum(nearest, to_nearest(features, norms, features[index : index + 1]))
    return torch.tensor(chosen)
