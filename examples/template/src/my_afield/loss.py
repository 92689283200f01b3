"""The Brier score."""

import torch.nn.functional as F
from torch import Tensor

from afield.losses import LOSSES
from afield.losses.targets import counted, is_soft, prepare, settle


@LOSSES.register("brier", reference="Brier, Verification of forecasts expressed in terms of probability, 1950.")
def brier(logits: Tensor, targets: Tensor, *, weight: Tensor | None = None, ignore_index: int = -100) -> Tensor:
    """Squared distance of the probabilities from the one-hot target.

    Args:
        logits: logits ``[B, K]``.
        targets: class indices ``[B]`` or probabilities ``[B, K]``.
        weight: class weights ``[K]``.
        ignore_index: rows with this target have the value 0.

    Returns:
        ``[B]``, between 0 and 2.
    """
    z, t, w = prepare("brier", logits, targets, weight, ignore_index)
    wanted = t if is_soft(t) else F.one_hot(counted(t, ignore_index), z.shape[1])
    return settle((z.softmax(dim=1) - wanted).square().sum(dim=1), logits, t, w, ignore_index)
