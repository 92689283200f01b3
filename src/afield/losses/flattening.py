"""Complement flattening: makes the probabilities of the wrong classes equal."""

import warnings

from torch import Tensor

from afield.losses.criterion import Criterion
from afield.losses.cross_entropy import split_cross_entropy
from afield.losses.registry import LOSSES
from afield.losses.targets import counted, is_soft, prepare, right_classes, settle, widen
from afield.target_split import TargetSplit, log_sum_and_mean, split_target


def split_flattening(logits: TargetSplit) -> Tensor:
    """``logsumexp_{j != y} z_j - mean_{j != y} z_j``, ``[B]``: `complement_flattening` for class indices."""
    return logits.log_sum - logits.mean


def warn_of_two(classes: int) -> None:
    """Warn if there are two classes, because the loss is then always 0."""
    if classes == 2:
        warnings.warn(
            "complement_flattening with two classes is 0: there is only one wrong class and nothing to flatten",
            UserWarning,
            stacklevel=3,
        )


@LOSSES.register(
    "complement_flattening",
    reference="Complement flattening for domain generalization, 2020 (paper A).",
    split=split_flattening,
    check_classes=warn_of_two,
)
def complement_flattening(
    logits: Tensor, targets: Tensor, *, weight: Tensor | None = None, ignore_index: int = -100
) -> Tensor:
    """Cross-entropy between the uniform distribution and the prediction over the wrong classes.

    Minimizing it makes the probabilities of the wrong classes equal. With ``q`` the softmax over the K-1 non-target
    logits,

    ``L' = -1/(K-1) * sum_{j != y} log q_j = logsumexp_{j != y} z_j - mean_{j != y} z_j``.

    The loss does not depend on ``z_y``, so the gradient with respect to it is exactly 0. The minimum is ``log(K-1)``,
    reached if all non-target logits are equal. Adding a constant to ``z`` does not change the loss. With two classes
    the loss is always 0, and a warning is given. For probabilities, the wrong classes are all classes with probability
    0.

    Args:
        logits: logits ``[B, K]``, K >= 2.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: if there are fewer than two classes, a row of probabilities contains no 0, or a shape does not fit.

    Example:
        >>> import torch
        >>> z = torch.tensor([[5.0, 1.0, 1.0, 1.0]])
        >>> complement_flattening(z, torch.tensor([0]))  # already flat: log 3
        tensor([1.0986])

    References:
        Complement flattening for domain generalization, 2020, section 3.

    Warning:
        Implementations that divide by ``1 - p_y + 1e-7`` give the same result only if the target is not learned yet. In
        float32 with K = 7, where the correct value is 1.96, they give 2.12 at a target logit of 16 and 22.6 at 40.
    """
    name = "complement_flattening"
    z, t, w = prepare(name, logits, targets, weight, ignore_index, classes=2)
    warn_of_two(z.shape[1])
    if not is_soft(t):
        return settle(split_flattening(split_target(z, counted(t, ignore_index))), logits, t, w, ignore_index)
    log_sum, mean = log_sum_and_mean(widen(logits), right_classes(name, z, t, ignore_index))
    return settle(log_sum - mean, logits, t, w, ignore_index)


class ComplementFlattening(Criterion, loss=complement_flattening, strength=0.5):
    """Cross-entropy plus `strength` times `afield.losses.complement_flattening`.

    The strength is lambda in the paper: 0.5 is its best value, and 1.0 also improves on its baseline. For class
    indices, both losses are computed in one pass.
    """

    def values(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Criterion.values`."""
        if is_soft(targets) or self.strength is None:
            return super().values(logits, targets)
        z, t, w = prepare("ComplementFlattening", logits, targets, self.weight, self.ignore_index, classes=2)
        warn_of_two(z.shape[1])
        split = split_target(z, counted(t, self.ignore_index))
        values = split_cross_entropy(split) + self.strength * split_flattening(split)
        return settle(values, logits, t, w, self.ignore_index)
