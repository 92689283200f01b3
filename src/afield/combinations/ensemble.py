"""The ensemble: the mean of the probabilities of its members."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from afield.combinations.combination import COMBINATIONS, Combination


@COMBINATIONS.register("ensemble", reference="Arpit et al., Ensemble of Averages, NeurIPS 2022.")
class Ensemble(Combination):
    """Predicts with the mean of the probabilities of its members.

    The members can start from different weights.

    Args:
        members: number of members; 6 in the paper.

    References:
        Arpit et al., "Ensemble of Averages: Improving Model Selection and Boosting Performance in Domain
        Generalization", NeurIPS 2022, section 2.3: the members are moving averages (`sma`). There, each member has a
        validation set of its own and random hyper-parameters; here all have the same ones.
    """


def mean_logits(members: Sequence[Tensor]) -> Tensor:
    """The logits ``[N, K]`` of each member -> the logarithms of the mean of their probabilities, ``[N, K]``.

    >>> mean_logits([torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, math.log(3)]])]).softmax(1)
    tensor([[0.3750, 0.6250]])
    """
    return torch.stack([*members]).log_softmax(dim=2).logsumexp(dim=0) - math.log(len(members))
