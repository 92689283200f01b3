"""Maximum-entropy sampling."""

import torch
from torch import Tensor

from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


@STRATEGIES.register("entropy", reference="Shewry and Wynn, Maximum Entropy Sampling, 1987.")
def entropy(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Chooses the images with the highest entropy of the prediction."""
    return pool.highest(prediction_entropy(pool.logits), count)


def prediction_entropy(logits: Tensor) -> Tensor:
    """The entropy of each prediction in nats: logits ``[N, K]`` -> ``[N]``.

    >>> prediction_entropy(torch.zeros(1, 2))  # log 2
    tensor([0.6931])
    """
    return torch.special.entr(logits.softmax(dim=1)).sum(dim=1)
