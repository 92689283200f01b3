"""Logit adjustment: cross-entropy of logits to which the logarithm of the class frequencies is added."""

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from afield.distributions import Uniform
from afield.losses.class_counts import present
from afield.losses.criterion import Criterion
from afield.losses.registry import LOSSES
from afield.losses.targets import prepare, settle
from afield.validation import check_within


def log_prior(counts: Tensor) -> Tensor:
    """``log pi_k``, ``[K]``: the logarithm of the class frequencies ``n_k / N``."""
    return (counts / counts.sum()).log()


@LOSSES.register(
    "logit_adjustment", reference="Menon et al., Long-Tail Learning via Logit Adjustment, ICLR 2021, equation 10."
)
def logit_adjustment(
    logits: Tensor,
    targets: Tensor,
    *,
    tau: Annotated[float, Uniform(0.5, 2)] = 1.0,
    counts: Tensor | None = None,
    weight: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy of logits plus tau times the logarithm of the class frequencies.

    It is the cross-entropy of ``z_k + tau log pi_k``, where ``pi_k`` is the fraction of the training images in class k.
    Prediction uses ``z`` alone: with tau 1 it is the best classifier for classes of equal size. Of a cosine head, ``z``
    are the scaled cosines.

    Args:
        logits: logits ``[B, K]``.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        tau: factor of the logarithm, at least 0; with 0 the loss is cross-entropy.
        counts: number of training images of each class, ``[K]``; see `afield.losses.class_counts`.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: if tau is negative, or a shape does not fit.

    Example:
        >>> import torch
        >>> logit_adjustment(torch.zeros(2, 2), torch.tensor([0, 1]), counts=torch.tensor([3, 1]))  # log 4/3, log 4
        tensor([0.2877, 1.3863])

    References:
        Menon et al., "Long-Tail Learning via Logit Adjustment", ICLR 2021, equation 10.
    """
    check_within("[0, inf)", tau=tau)
    z, t, w = prepare("logit_adjustment", logits, targets, weight, ignore_index)
    z = z + tau * log_prior(present("logit_adjustment", counts, z))
    values = F.cross_entropy(z, t, ignore_index=ignore_index, reduction="none")
    return settle(values, logits, t, w, ignore_index)


class LogitAdjustment(Criterion, loss=logit_adjustment):
    """Logit adjustment with the options `counts` and `tau`; see `afield.losses.logit_adjustment`."""
