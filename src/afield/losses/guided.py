"""Guided complement entropy: negative entropy over the wrong classes, weighted by the target probability."""

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
    logits: Tensor, targets: Tensor, *, alpha: float = 1 / 3, weight: Tensor | None = None, ignore_index: int = -100
) -> Tensor:
    """Negative entropy over the wrong classes, weighted by the target probability.

    It is ``p_y^alpha / log(K-1) * sum_{j != y} q_j log q_j``, where ``q`` is the softmax over the non-target logits. It
    replaces cross-entropy. The loss lies in [-1, 0] and is -1 if ``p_y = 1`` and ``q`` is uniform. ``p_y^alpha`` is
    computed as ``exp(alpha log p_y)``.

    Args:
        logits: logits ``[B, K]``, K >= 3. With two classes, both ``log(K-1)`` and the entropy are 0.
        targets: class indices ``[B]``. Probabilities are not supported, because they have no single target class.
        alpha: exponent of the target probability, at least 0; a larger one delays the effect on the wrong classes, and
            with 0 the target has no influence. 1/3 is the default of the authors' code; the paper also tests values
            down to 1/5.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, dimensionless, in the dtype of the logits.

    Raises:
        ValueError: if alpha is negative, there are fewer than three classes, the targets are probabilities, or a shape
            does not fit.

    References:
        Chen et al., "Improving Adversarial Robustness via Guided Complement Entropy", ICCV 2019.

    Warning:
        The gradient vanishes with ``p_y``: an example whose initial ``p_y`` is near 0 is learned slowly. The authors'
        code divides by ``log K`` instead of ``log(K-1)``, and it divides the probabilities by ``1 - p_y + 1e-7``.
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
    """Guided complement entropy with the option `alpha`; see `afield.losses.guided_complement_entropy`."""
