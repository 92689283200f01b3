"""Maximum entropy: moves the prediction towards the uniform one, or away from it with the sign of the paper."""

import math
from typing import Literal

from torch import Tensor

from afield.losses.criterion import Criterion
from afield.losses.registry import LOSSES
from afield.losses.targets import prepare, settle, unmasked
from afield.validation import check_within

Sign = Literal["corrected", "printed"]
Form = Literal["log", "gap"]


@LOSSES.register("max_entropy", reference="Learned augmentation, seen as active learning (paper B).")
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
    """Logarithm of the gap between the entropy of the prediction and its maximum.

    It is ``log(gap + eps)``, where the gap is ``log2 K - H(p)``, in bits. The targets determine only the ignored rows
    and the weights.

    Args:
        logits: logits ``[B, K]``.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        sign: ``"corrected"`` increases the entropy; ``"printed"`` is ``-log(gap + eps)``, as in the paper.
        form: ``"log"``, or ``"gap"`` for the gap without the logarithm (corrected sign only).
        eps: in bits, above 0. It keeps the logarithm finite for the uniform prediction, where the loss is ``log eps``.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in the dtype of the logits; in bits for the gap, dimensionless for its logarithm.

    Raises:
        ValueError: if the sign or the form is unknown, the form is ``"gap"`` with the printed sign, eps is not
            positive, or a shape does not fit.

    Example:
        >>> import torch
        >>> certain = torch.tensor([[50.0, 0.0, 0.0, 0.0]])
        >>> max_entropy(certain, torch.tensor([0]), form="gap")  # entropy 0, maximum 2 bits
        tensor([2.])

    References:
        Learned augmentation, seen as active learning (paper B), the maximum-entropy loss.

    Warning:
        The paper minimizes ``-log(log2 K - H)``, which is smallest where the gap is largest. This decreases the
        entropy, contrary to the text of the paper. The sign ``"printed"`` exists to reproduce the paper.
    """
    if sign not in ("corrected", "printed"):
        raise ValueError(f'sign must be "corrected" or "printed", got {sign!r}')
    if form not in ("log", "gap"):
        raise ValueError(f'form must be "log" or "gap", got {form!r}')
    if form == "gap" and sign == "printed":
        raise ValueError('form="gap" supports sign="corrected" only; sign="printed" needs form="log"')
    check_within("(0, inf)", eps=eps)
    z, t, w = prepare("max_entropy", logits, targets, weight, ignore_index)
    log_p = unmasked(z).log_softmax(dim=1)
    # The gap is the divergence from the uniform prediction. Rounding errors can make it slightly negative.
    gap = (log_p.exp() * (log_p + math.log(z.shape[1]))).sum(dim=1).clamp(min=0) / math.log(2)
    values = gap if form == "gap" else (gap + eps).log()
    return settle(-values if sign == "printed" else values, logits, t, w, ignore_index)


class MaxEntropy(Criterion, loss=max_entropy, strength=0.1):
    """Cross-entropy plus `strength` times `afield.losses.max_entropy` with the options `sign`, `form`, `eps`."""
