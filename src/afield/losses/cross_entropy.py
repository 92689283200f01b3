"""Cross-entropy and label smoothing."""

from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.distributions import Choice
from afield.losses.criterion import Criterion
from afield.losses.registry import LOSSES
from afield.losses.targets import example_weight, narrow, prepare, unmasked
from afield.target_split import TargetSplit
from afield.validation import check_within


def split_cross_entropy(logits: TargetSplit) -> Tensor:
    """``-log softmax(z)_y = softplus(logsumexp_{j != y} z_j - z_y)``, ``[B]``: `cross_entropy` for class indices."""
    return F.softplus(logits.log_sum - logits.target)


@LOSSES.register(
    "cross_entropy",
    reference="Goodfellow, Bengio, Courville, Deep Learning, 2016, section 6.2.",
    split=split_cross_entropy,
)
def cross_entropy(
    logits: Tensor, targets: Tensor, *, temperature: float = 1.0, weight: Tensor | None = None, ignore_index: int = -100
) -> Tensor:
    """Cross-entropy between the prediction and the target class.

    It is ``-log softmax(z / T)_y``, or ``-sum_j t_j log softmax(z / T)_j`` for probabilities ``t``.

    Args:
        logits: logits ``[B, K]``.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        temperature: ``T``, above 0; 1 is plain cross-entropy. NT-Xent is this loss applied to similarities.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: if the temperature is not positive, or a shape does not fit.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2]))  # log 4
        tensor([1.3863])

    References:
        Goodfellow, Bengio, Courville, "Deep Learning", 2016, section 6.2. The temperature: Chen et al., "A Simple
        Framework for Contrastive Learning of Visual Representations" (SimCLR), ICML 2020, equation 1 (NT-Xent).
    """
    return _cross_entropy("cross_entropy", logits, targets, 0.0, temperature, weight, ignore_index)


@LOSSES.register(
    "label_smoothing", reference="Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7."
)
def label_smoothing(
    logits: Tensor,
    targets: Tensor,
    *,
    smoothing: Annotated[float, Choice((0.0, 0.05, 0.1, 0.2))] = 0.1,
    temperature: float = 1.0,
    weight: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy with a part of the target probability spread over all classes.

    It is ``(1 - a) * CE(z, y) + a * mean_j(-log softmax(z)_j)``, where ``z`` is divided by the temperature.

    Args:
        logits: logits ``[B, K]``.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        smoothing: ``a``, weight of the uniform distribution, in [0, 1].
        temperature: as in `cross_entropy`.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: if `smoothing` is outside [0, 1], the temperature is not positive, or a shape does not fit.

    References:
        Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016, section 7.
    """
    check_within("[0, 1]", smoothing=smoothing)
    return _cross_entropy("label_smoothing", logits, targets, smoothing, temperature, weight, ignore_index)


def _cross_entropy(
    loss: str,
    logits: Tensor,
    targets: Tensor,
    smoothing: float,
    temperature: float,
    weight: Tensor | None,
    ignore_index: int,
) -> Tensor:
    check_within("(0, inf)", temperature=temperature)
    z, t, w = prepare(loss, logits, targets, weight, ignore_index)
    if temperature != 1:
        z = z / temperature
    values = F.cross_entropy(z, t, weight=w, ignore_index=ignore_index, reduction="none")
    if smoothing:
        kept = (logits != -torch.inf).to(z.dtype)
        uniform = kept / kept.sum(dim=1, keepdim=True)
        smooth = F.cross_entropy(unmasked(z), uniform, weight=w, reduction="none")
        values = (1 - smoothing) * values + smoothing * smooth * example_weight(t, None, ignore_index)
    return narrow(values, logits)


class CrossEntropy(Criterion, loss=cross_entropy):
    """``nn.CrossEntropyLoss`` with a `temperature`; see `afield.losses.cross_entropy`."""


class LabelSmoothing(Criterion, loss=label_smoothing):
    """Label smoothing with the options `smoothing` and `temperature`; see `afield.losses.label_smoothing`."""
