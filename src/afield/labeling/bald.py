"""BALD: how much draws of the model disagree."""

from __future__ import annotations

import torch
from torch import Tensor

from afield.errors import InputError
from afield.labeling.distances import blocks
from afield.labeling.pool import Pool
from afield.labeling.registry import STRATEGIES


@STRATEGIES.register(
    "bald", reference="Houlsby et al., BALD, 2011; Gal, Islam and Ghahramani, Deep Bayesian Active Learning, ICML 2017."
)
def bald(pool: Pool, count: int, generator: torch.Generator) -> Tensor:
    """Chooses images on whose class the model under dropout disagrees with itself.

    Raises:
        InputError: a pool without draws.
    """
    if pool.draws is None:
        raise InputError("strategy bald needs logits under dropout: Pool(draws=...), of shape [S, N, K]")
    scores = [disagreement(pool.draws[:, rows]) for rows in blocks(len(pool))]
    return pool.highest(torch.cat(scores), count)


def disagreement(draws: Tensor) -> Tensor:
    """Entropy of the mean prediction minus the mean entropy, in nats: logits ``[S, N, K]`` -> ``[N]``.

    References:
        Gal, Islam and Ghahramani, "Deep Bayesian active learning with image data", ICML 2017, section 3.
    """
    probabilities = draws.softmax(dim=2)
    return torch.special.entr(probabilities.mean(dim=0)).sum(dim=1) - torch.special.entr(probabilities).sum(2).mean(0)
