"""Losses that reward uncertainty: over all classes, or over the wrong ones."""

from __future__ import annotations

import torch
from torch import Tensor

from afield.losses.criterion import Criterion
from afield.losses.registry import LOSSES
from afield.losses.targets import prepare, right_classes, settle, unmasked


def confidence_penalty(
    logits: Tensor,
    targets: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """The negative entropy of the prediction, ``sum_j p_j log p_j``.

    A term beside cross-entropy, with a strength of 0.1 or so. Its minimum, at equal logits, is ``-log K``. The
    targets only say which rows count, and how much.

    Args:
        logits: ``[B, K]``.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: shapes other than these.

    References:
        Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output Distributions", 2017,
        section 3.
    """
    z, t, w = prepare("confidence_penalty", logits, targets, weight, ignore_index)
    log_p = unmasked(z).log_softmax(dim=1)
    return settle((log_p.exp() * log_p).sum(dim=1), logits, t, w, ignore_index)


def complement_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """The negative entropy of the non-target distribution over K - 1: ``1/(K-1) sum_{j != y} q_j log q_j``.

    ``q`` is the softmax over the non-target logits. The gradient at ``z_y`` is exactly 0. For probabilities the
    wrong classes are those of probability 0, and their number stands for K - 1.

    Args:
        logits: ``[B, K]`` with K >= 2.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: fewer than two classes, a row of probabilities without a 0, or shapes other than these.

    References:
        Chen et al., "Complement Objective Training", ICLR 2019, equations 2 and 3.

    Warning:
        The paper alternates a step on cross-entropy with a step on this; here it is a term of one sum. The
        authors' code divides by K instead of K - 1, and through ``1 - p_y + 1e-7``, which loses the value
        once the target is learned.
    """
    name = "complement_entropy"
    z, t, w = prepare(name, logits, targets, weight, ignore_index, classes=2)
    right = right_classes(name, z, t, ignore_index)
    log_q = unmasked(z).masked_fill(right, -torch.inf).log_softmax(dim=1).masked_fill(right, 0.0)
    q = log_q.exp().masked_fill(right, 0.0)
    return settle((q * log_q).sum(dim=1) / (~right).sum(dim=1), logits, t, w, ignore_index)


class ConfidencePenalty(Criterion, loss=confidence_penalty, strength=0.1):
    """Cross-entropy plus `strength` (the paper's beta) times `afield.losses.confidence_penalty`."""


class ComplementEntropy(Criterion, loss=complement_entropy, strength=1.0):
    """Cross-entropy plus `strength` times `afield.losses.complement_entropy`."""


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
