"""The losses that a `TargetSplit` batch of logits is enough for, one value an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from afield.target_split import TargetSplit


def split_cross_entropy(logits: TargetSplit) -> Tensor:
    """``-log softmax(z)_y = softplus(logsumexp_{j != y} z_j - z_y)``, ``[B]``."""
    return F.softplus(logits.log_sum - logits.target)


def split_flattening(logits: TargetSplit) -> Tensor:
    """``logsumexp_{j != y} z_j - mean_{j != y} z_j``, ``[B]``: `complement_flattening` at indices."""
    return logits.log_sum - logits.mean


SPLIT_LOSSES: Mapping[str, Callable[[TargetSplit], Tensor]] = {
    "cross_entropy": split_cross_entropy,
    "complement_flattening": split_flattening,
}
"""By the names in `LOSSES`."""
