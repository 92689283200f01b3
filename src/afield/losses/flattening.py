"""Complement flattening: even out the probabilities of the wrong classes."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from afield.losses.criterion import Criterion
from afield.losses.cross_entropy import split_cross_entropy
from afield.losses.registry import LOSSES
from afield.losses.targets import counted, is_soft, prepare, right_classes, settle
from afield.target_split import TargetSplit, split_target


def split_flattening(logits: TargetSplit) -> Tensor:
    """``logsumexp_{j != y} z_j - mean_{j != y} z_j``, ``[B]``: `complement_flattening` for class indices."""
    return logits.log_sum - logits.mean


def warn_of_two(classes: int) -> None:
    """Warn if there are two classes: the loss is then 0."""
    if classes == 2:
        warnings.warn(
            "complement_flattening with two classes is 0: there is only one wrong class, and nothing to flatten",
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
    logits: Tensor,
    targets: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """Evens out the probabilities of the wrong classes.

    Cross-entropy of the non-target distribution against the uniform one.

    With ``q`` the softmax over the K-1 non-target logits,

    ``L' = -1/(K-1) * sum_{j != y} log q_j = logsumexp_{j != y} z_j - mean_{j != y} z_j``.

    It never involves ``z_y``: the gradient there is exactly 0. Its minimum, at equal non-target logits, is
    ``log(K-1)``; adding a constant to ``z`` changes nothing. With two classes it is always 0, which
    gives a warning. For probabilities the wrong classes are those of probability 0, however many they are.

    Args:
        logits: ``[B, K]`` with K >= 2.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        weight: see `afield.losses.targets`.
        ignore_index: see `afield.losses.targets`.

    Returns:
        ``[B]``, in nats, of the logits' dtype.

    Raises:
        ValueError: fewer than two classes, a row of probabilities without a 0, or shapes other than these.

    Example:
        >>> import torch
        >>> z = torch.tensor([[5.0, 1.0, 1.0, 1.0]])
        >>> complement_flattening(z, torch.tensor([0]))  # flat already: log 3
        tensor([1.0986])

    References:
        Complement flattening for domain generalization, 2020, section 3.

    Warning:
        Code that divides by ``1 - p_y + 1e-7`` computes the same thing only while the target is not yet
        learned: in float32 with K = 7 it gives 2.12 for 1.96 at a target logit of 16 and 22.6 at 40.
    """
    name = "complement_flattening"
    z, t, w = prepare(name, logits, targets, weight, ignore_index, classes=2)
    warn_of_two(z.shape[1])
    if not is_soft(t):
        return settle(split_flattening(split_target(z, counted(t, ignore_index))), logits, t, w, ignore_index)
    right = right_classes(name, z, t, ignore_index)
    total = torch.logsumexp(z.masked_fill(right, -torch.inf), dim=1)
    mean = z.masked_fill(right, 0.0).sum(dim=1) / (~right).sum(dim=1)
    return settle(total - mean, logits, t, w, ignore_index)


class ComplementFlattening(Criterion, loss=complement_flattening, strength=0.5):
    """Cross-entropy plus `strength` times `afield.losses.complement_flattening`.

    The strength is the paper's lambda: 0.5 is its best value, 1.0 also beats its baseline. For class indices both
    losses are computed in one pass.
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
