"""Guided complement entropy: flatten the wrong classes as far as the target is learned."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from afield.losses.criterion import Criterion
from afield.losses.entropy import complement_entropy
from afield.losses.registry import LOSSES
from afield.losses.targets import prepare, settle
from afield.validation import check_within


@LOSSES.register(
    "guided_complement_entropy",
    reference="Chen et al., Improving Adversarial Robustness via Guided Complement Entropy, ICCV 2019.",
)
def guided_complement_entropy(
    logits: Tensor,
    targets: Tensor,
    *,
    alpha: float = 1 / 3,
    weight: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Evens out the wrong classes as far as the target is learned; used alone.

    The wrong classes' negative entropy, normalized, times ``p_y^alpha``; used alone, without cross-entropy.

    ``p_y^alpha / log(K-1) * sum_{j != y} q_j log q_j``, with ``q`` the softmax over the non-target logits. It lies in
    [-1, 0] and is -1 where ``p_y = 1`` and ``q`` is uniform. ``p_y^alpha`` is taken as ``exp(alpha log p_y)``.

    Args:
        logits: ``[B, K]`` with K >= 3: with two classes ``log(K-1)`` is 0, and so is the entropy.
        targets: class indices ``[B]``. Probabilities name no one class to guide by.
        alpha: how late the wrong classes are flattened, at least 0; at 0 the target plays no part. 1/3 is the
            default of the authors' code, which the paper varies down to 1/5.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, no unit, of the logits' dtype.

    Raises:
        ValueError: a negative alpha, fewer than three classes, probabilities, or shapes other than these.

    References:
        Chen et al., "Improving Adversarial Robustness via Guided Complement Entropy", ICCV 2019.

    Warning:
        The gradient vanishes with ``p_y``: an example that starts with a ``p_y`` near 0 is learned slowly. The
        authors' code divides by ``log K`` instead of ``log(K-1)``, and through ``1 - p_y + 1e-7``.
    """
    name = "guided_complement_entropy"
    check_within("[0, inf)", alpha=alpha)
    if targets.shape == logits.shape and targets.is_floating_point():
        raise ValueError(f"{name} is guided by the probability of one target class; probabilities name none")
    z, t, w = prepare(name, logits, targets, weight, ignore_index, classes=3, soft=False)
    wrong = z.shape[1] - 1
    guide = (-alpha * F.cross_entropy(z, t, ignore_index=ignore_index, reduction="none")).exp()
    entropy = complement_entropy(z, t, ignore_index=ignore_index) * (wrong / math.log(wrong))
    return settle(guide * entropy, logits, t, w, ignore_index)


class GuidedComplementEntropy(Criterion, loss=guided_complement_entropy):
    """Guided complement entropy alone, with its `alpha`; see `afield.losses.guided_complement_entropy`."""
