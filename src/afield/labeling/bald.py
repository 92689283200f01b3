"""BALD: selection by the disagreement of predictions under dropout."""

import torch
from torch import Tensor

from afield.errors import InputError
from afield.labeling.distances import blocks
from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES
from afield.objective import Objective


@STRATEGIES.register(
    "bald", reference="Houlsby et al., BALD, 2011; Gal, Islam and Ghahramani, Deep Bayesian Active Learning, ICML 2017."
)
def bald(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Chooses images with the largest disagreement between the model's predictions under dropout.

    Raises:
        InputError: if the pool has no draws.
    """
    if pool.draws is None:
        raise InputError("strategy bald needs logits under dropout: Pool(draws=...), of shape [S, N, K]")
    scores = [disagreement(pool.draws[:, rows]) for rows in blocks(len(pool))]
    return pool.highest(torch.cat(scores), count)


def disagreement(draws: Tensor) -> Tensor:
    """The entropy of the mean prediction minus the mean entropy, in nats: logits ``[S, N, K]`` -> ``[N]``.

    References:
        Gal, Islam and Ghahramani, "Deep Bayesian active learning with image data", ICML 2017, section 3.
    """
    probabilities = draws.softmax(dim=2)
    return torch.special.entr(probabilities.mean(dim=0)).sum(dim=1) - torch.special.entr(probabilities).sum(2).mean(0)


@torch.no_grad()
def dropout_draws(objective: Objective, features: Tensor, *, count: int = 20, dropout: float = 0.5) -> Tensor:
    """Logits of a head with dropout on its features, ``[S, N, K]``. Every call returns the same logits.

    Args:
        objective: objective with the head.
        features: features ``[N, D]``.
        count: S, the number of draws.
        dropout: probability that a feature is 0 in a draw.
    """
    generator = torch.Generator().manual_seed(0)
    draws = []
    for _ in range(count):
        kept = torch.rand(features.shape[1], generator=generator) >= dropout
        weights = kept.to(features.dtype) / (1 - dropout)
        draws.append(torch.cat([objective.logits(features[rows] * weights) for rows in blocks(len(features))]))
    return torch.stack(draws)
