"""The losses that a `Separated` batch of logits is enough for, one value an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor

from afield.separate import Separated


def separated_cross_entropy(logits: Separated) -> Tensor:
    """``-log softmax(z)_y = softplus(logsumexp_{j != y} z_j - z_y)``, ``[B]``."""
    return F.softplus(logits.log_sum - logits.target)


def separated_flattening(logits: Separated) -> Tensor:
    """``logsumexp_{j != y} z_j - mean_{j != y} z_j``, ``[B]``: `complement_flattening` at indices."""
    return logits.log_sum - logits.mean


SEPARATED_LOSSES: Mapping[str, Callable[[Separated], Tensor]] = {
    "cross_entropy": separated_cross_entropy,
    "complement_flattening": separated_flattening,
}
"""By the names in `LOSSES`."""
