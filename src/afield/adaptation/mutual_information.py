"""Mutual information of images and predictions."""

import torch
from torch import Tensor

from afield.algorithms.parts.target import entropy


def mutual_information(logits: Tensor) -> Tensor:
    """Entropy of the mean prediction minus the mean entropy of the predictions, in nats: logits ``[N, K]`` -> a scalar.

    It is large if the predictions are certain and diverse, 0 if all predictions are the same, and at most ``log K``.

    References:
        Krause, Perona and Gomes, "Discriminative clustering by regularized information maximization", NeurIPS 2010,
        equation 1; the information-maximization loss of SHOT is its negative.
    """
    return torch.special.entr(logits.softmax(dim=1).mean(dim=0)).sum() - entropy(logits).mean()
