"""Focal loss: cross-entropy that downweights well-classified examples."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.distributions import Choice
from afield.losses.criterion import Criterion
from afield.losses.registry import LOSSES
from afield.losses.targets import is_soft, prepare, settle
from afield.validation import check_within


@LOSSES.register("focal", reference="Lin et al., Focal Loss for Dense Object Detection, ICCV 2017.")
def focal(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma: Annotated[float, Choice((0.5, 1.0, 2.0, 5.0))] = 2.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy that downweights well-classified examples.

    It is cross-entropy multiplied by ``(1 - p_y)^gamma``; with gamma 0 it is cross-entropy. For probabilities ``t`` it
    is ``sum_j t_j (1 - p_j)^gamma (-log p_j)``. ``1 - p`` is computed as ``-expm1(log p)``, which is accurate for ``p``
    near 1.

    Args:
        logits: logits ``[B, K]``.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        gamma: exponent of the factor, at least 0; 2 is the paper's best value.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: if gamma is negative, or a shape does not fit.

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4.
    """
    check_within("[0, inf)", gamma=gamma)
    z, t, w = prepare("focal", logits, targets, weight, ignore_index)
    log_p = z.log_softmax(dim=1) if is_soft(t) else -F.cross_entropy(z, t, ignore_index=ignore_index, reduction="none")
    # The lower bound keeps the gradient of the power finite at p = 1 if gamma is below 1.
    wrong = (-torch.expm1(log_p)).clamp(min=torch.finfo(log_p.dtype).tiny)
    values = -(wrong**gamma) * log_p
    return settle((t * values).sum(dim=1) if is_soft(t) else values, logits, t, w, ignore_index)


class Focal(Criterion, loss=focal):
    """Focal loss with the option `gamma`; see `afield.losses.focal`."""
