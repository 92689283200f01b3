"""Losses that reward uncertainty: over all classes, or over the wrong ones."""

from __future__ import annotations

import torch
from torch import Tensor

from afield.losses.registry import LOSSES


def confidence_penalty(logits: Tensor, targets: Tensor) -> Tensor:
    """The negative entropy of the prediction, ``sum_j p_j log p_j``; the targets are not looked at.

    A term beside cross-entropy, with a weight of 0.1 or so. Its minimum, at equal logits, is ``-log K``.

    Args:
        logits: ``[B, K]``.
        targets: class indices ``[B]``.

    Returns:
        ``[B]``, in nats.

    References:
        Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output Distributions", 2017,
        section 3.
    """
    log_p = logits.log_softmax(dim=1)
    return (log_p.exp() * log_p).sum(dim=1)


def complement_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The negative entropy of the non-target distribution over K - 1: ``1/(K-1) sum_{j != y} q_j log q_j``.

    ``q`` is the softmax over the non-target logits. The gradient at ``z_y`` is exactly 0.

    Args:
        logits: ``[B, K]`` with K >= 2.
        targets: class indices ``[B]``.

    Returns:
        ``[B]``, in nats.

    Raises:
        ValueError: fewer than two classes.

    References:
        Chen et al., "Complement Objective Training", ICLR 2019, equations 2 and 3.

    Warning:
        The paper alternates a step on cross-entropy with a step on this; here it is a term of one sum. The
        authors' code divides by K instead of K - 1, and through ``1 - p_y + 1e-7``, which loses the value
        once the target is learned.
    """
    classes = logits.shape[-1]
    if classes < 2:
        raise ValueError(f"complement_entropy needs logits [B, K] with K >= 2, got {tuple(logits.shape)}")
    index = targets[:, None]
    log_q = logits.scatter(1, index, -torch.inf).log_softmax(dim=1).scatter(1, index, 0.0)
    q = log_q.exp().scatter(1, index, 0.0)
    return (q * log_q).sum(dim=1) / (classes - 1)


LOSSES.add(
    "confidence_penalty",
    confidence_penalty,
    summary="Rewards the entropy of the whole prediction.",
    reference="Pereyra et al., Penalizing Confident Output Distributions, 2017.",
)
LOSSES.add(
    "complement_entropy",
    complement_entropy,
    summary="Rewards the entropy of the wrong classes' probabilities (COT).",
    reference="Chen et al., Complement Objective Training, ICLR 2019.",
)
