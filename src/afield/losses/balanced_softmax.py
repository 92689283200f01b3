"""Balanced softmax: a softmax in which each class has the weight of its training images."""

import torch.nn.functional as F
from torch import Tensor

from afield.losses.class_counts import present
from afield.losses.criterion import Criterion
from afield.losses.registry import LOSSES
from afield.losses.targets import prepare, settle


@LOSSES.register(
    "balanced_softmax",
    reference="Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, equation 3.",
)
def balanced_softmax(
    logits: Tensor,
    targets: Tensor,
    *,
    counts: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy of a softmax whose terms are multiplied by the class counts.

    It is ``-log (n_y e^{z_y} / sum_k n_k e^{z_k})``, where ``n_k`` is the number of training images of class k. This
    equals `logit_adjustment` with tau 1, which was derived in another way; prediction uses ``z`` alone.

    Args:
        logits: logits ``[B, K]``.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        counts: number of training images of each class, ``[K]``; see `afield.losses.class_counts`.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: if a shape does not fit.

    References:
        Ren et al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020, equation 3.
    """
    z, t, w = prepare("balanced_softmax", logits, targets, weight, ignore_index)
    z = z + present("balanced_softmax", counts, z).log()
    values = F.cross_entropy(z, t, ignore_index=ignore_index, reduction="none")
    return settle(values, logits, t, w, ignore_index)


class BalancedSoftmax(Criterion, loss=balanced_softmax):
    """Balanced softmax with the option `counts`; see `afield.losses.balanced_softmax`."""
