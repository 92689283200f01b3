"""What a classifier sees in images: how uncertain it is, and whether it is right."""

from __future__ import annotations

import math

from torch import Tensor, nn


def seen(classifier: nn.Module, teacher: nn.Module, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The classifier's entropy in bits and the teacher's right answers, both summed over a batch.

    Args:
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``.
        teacher: likewise, and often the same.
        images: ``[B, 3, H, W]`` in [0, 1].
        targets: class indices ``[B]``.
    """
    log_p = classifier(images).float().log_softmax(dim=1)
    entropy = -(log_p.exp() * log_p).sum() / math.log(2)
    return entropy, (teacher(images).argmax(dim=1) == targets).sum().float()
