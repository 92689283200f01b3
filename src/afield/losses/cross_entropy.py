"""Cross-entropy and label smoothing, one value an example."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from afield.losses.registry import LOSSES


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy: ``-log softmax(z)_y``.

    Args:
        logits: ``[B, K]``.
        targets: class indices ``[B]``.

    Returns:
        ``[B]``, in nats.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2]))  # log 4
        tensor([1.3863])
    """
    return F.cross_entropy(logits, targets, reduction="none")


def label_smoothing(logits: Tensor, targets: Tensor, *, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy against the target mixed with the uniform distribution.

    ``(1 - a) * CE(z, y) + a * mean_j(-log softmax(z)_j)``.

    Args:
        logits: ``[B, K]``.
        targets: class indices ``[B]``.
        smoothing: the share ``a`` of the uniform distribution, in [0, 1].

    Returns:
        ``[B]``, in nats.

    References:
        Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7.
    """
    return F.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)


LOSSES.add(
    "cross_entropy",
    cross_entropy,
    summary="Cross-entropy against the target class.",
    reference="Goodfellow, Bengio, Courville, Deep Learning, 2016, section 6.2.",
)
LOSSES.add(
    "label_smoothing",
    label_smoothing,
    summary="Cross-entropy with a share of the target spread over all classes.",
    reference="Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7.",
)
