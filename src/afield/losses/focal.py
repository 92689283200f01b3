"""Focal loss: less weight on what is already right."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.losses.registry import LOSSES


def focal(logits: Tensor, targets: Tensor, *, gamma: float = 2.0) -> Tensor:
    """Cross-entropy times ``(1 - p_y)^gamma``; gamma 0 is cross-entropy.

    ``1 - p_y`` is taken as ``-expm1(log p_y)``, which keeps its digits where ``p_y`` is near 1.

    Args:
        logits: ``[B, K]``.
        targets: class indices ``[B]``.
        gamma: how quickly the weight falls, at least 0; 2 is the paper's best.

    Returns:
        ``[B]``, in nats.

    Raises:
        ValueError: a negative gamma.

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    if gamma < 0:
        raise ValueError(f"gamma must be at least 0, got {gamma!r}")
    log_p = -F.cross_entropy(logits, targets, reduction="none")
    # The floor keeps the slope of the power finite at p_y = 1 for gamma below 1.
    wrong = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    return -(wrong**gamma) * log_p


LOSSES.add(
    "focal",
    focal,
    summary="Cross-entropy with less weight on what is already right.",
    reference="Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.",
)
