"""Losses that increase the entropy of the prediction, over all classes or over the wrong classes."""

import torch
from torch import Tensor

from afield.losses.criterion import Criterion
from afield.losses.registry import LOSSES
from afield.losses.targets import prepare, right_classes, settle, unmasked


@LOSSES.register("confidence_penalty", reference="Pereyra et al., Penalizing Confident Output Distributions, 2017.")
def confidence_penalty(
    logits: Tensor, targets: Tensor, *, weight: Tensor | None = None, ignore_index: int = -100
) -> Tensor:
    """Negative entropy of the prediction; penalizes confident predictions.

    It is ``sum_j p_j log p_j``. Add it to cross-entropy with a strength of about 0.1. The minimum is ``-log K``,
    reached if all logits are equal. The targets determine only the ignored rows and the weights.

    Args:
        logits: logits ``[B, K]``.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: if a shape does not fit.

    References:
        Pereyra et al., "Regularizing Neural Networks by Penalizing Confident Output Distributions", 2017,
        section 3.
    """
    z, t, w = prepare("confidence_penalty", logits, targets, weight, ignore_index)
    log_p = unmasked(z).log_softmax(dim=1)
    return settle((log_p.exp() * log_p).sum(dim=1), logits, t, w, ignore_index)


@LOSSES.register("complement_entropy", reference="Chen et al., Complement Objective Training, ICLR 2019.")
def complement_entropy(
    logits: Tensor, targets: Tensor, *, weight: Tensor | None = None, ignore_index: int = -100
) -> Tensor:
    """Negative normalized entropy over the wrong classes (complement objective).

    It is ``1/(K-1) sum_{j != y} q_j log q_j``, where ``q`` is the softmax over the non-target logits. The gradient with
    respect to ``z_y`` is exactly 0. For probabilities, the wrong classes are the classes with probability 0, and their
    number replaces K - 1.

    Args:
        logits: logits ``[B, K]``, K >= 2.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: if there are fewer than two classes, a row of probabilities contains no 0, or a shape does not fit.

    References:
        Chen et al., "Complement Objective Training", ICLR 2019, equations 2 and 3.

    Warning:
        The paper alternates steps on cross-entropy and on this loss; here both are terms of one sum. The authors' code
        divides by K instead of K - 1, and it divides the probabilities by ``1 - p_y + 1e-7``, which loses the value
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
