"""Maximum entropy: draw the prediction towards the uniform one, or, with the sign as printed, away from it."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from afield.losses.criterion import Criterion
from afield.losses.registry import LOSSES
from afield.losses.targets import prepare, settle, unmasked

Sign = Literal["corrected", "printed"]
Form = Literal["log", "gap"]


def max_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    sign: Sign = "corrected",
    form: Form = "log",
    eps: float = 1e-3,
    weight: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """``log(gap + eps)``, where the gap ``log2 K - H(p)`` is what the entropy lacks of its maximum, in bits.

    The targets only say which rows count, and how much.

    Args:
        logits: ``[B, K]``.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        sign: ``"corrected"`` raises the entropy; ``"printed"`` is ``-log(gap + eps)``, as in the paper.
        form: ``"log"``, or ``"gap"`` for the gap itself (corrected sign only).
        eps: in bits, above 0. It keeps the logarithm finite at the uniform prediction, where the loss is ``log eps``.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, of the logits' dtype: bits for the gap, no unit for its logarithm.

    Raises:
        ValueError: an unknown sign or form, the gap with the printed sign, an eps that is not above 0, or shapes
            other than these.

    Example:
        >>> import torch
        >>> certain = torch.tensor([[50.0, 0.0, 0.0, 0.0]])
        >>> max_entropy(certain, torch.tensor([0]), form="gap")  # no entropy, of 2 bits
        tensor([2.])

    References:
        Learned augmentation, seen as active learning (paper B), the maximum-entropy loss.

    Warning:
        The paper prints ``-log(log2 K - H)`` and minimizes it. That is smallest where the gap is largest: it
        lowers the entropy, against the paper's own words. It is here for a faithful reproduction.
    """
    if sign not in ("corrected", "printed"):
        raise ValueError(f'sign must be "corrected" or "printed", got {sign!r}')
    if form not in ("log", "gap"):
        raise ValueError(f'form must be "log" or "gap", got {form!r}')
    if form == "gap" and sign == "printed":
        raise ValueError('form="gap" has the corrected sign only; the printed one is of the logarithm')
    if not eps > 0:
        raise ValueError(f"eps must be above 0, got {eps!r}")
    z, t, w = prepare("max_entropy", logits, targets, weight, ignore_index)
    log_p = unmasked(z).log_softmax(dim=1)
    # The gap as a divergence from the uniform prediction; rounding can take it just below 0.
    gap = (log_p.exp() * (log_p + math.log(z.shape[1]))).sum(dim=1).clamp(min=0) / math.log(2)
    values = gap if form == "gap" else (gap + eps).log()
    return settle(-values if sign == "printed" else values, logits, t, w, ignore_index)


class MaxEntropy(Criterion, loss=max_entropy, strength=0.1):
    """Cross-entropy plus `strength` times `afield.losses.max_entropy`, with its `sign`, `form` and `eps`."""


LOSSES.add(
    "max_entropy",
    max_entropy,
    summary="Draws the prediction towards the uniform one, as the log of the bits it lacks.",
    reference="Learned augmentation, seen as active learning (paper B).",
)
