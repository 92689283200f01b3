"""How uncertain a classifier is about images, and how many of them are recognized."""

from __future__ import annotations

import math

from torch import Tensor, nn


def recognition(
    classifier: nn.Module, teacher: nn.Module, images: Tensor, targets: Tensor, when: str
) -> dict[str, Tensor]:
    """The classifier's entropy in bits and the number of images that the teacher recognizes, summed over a batch.

    Args:
        classifier: images ``[B, 3, H, W]`` in [0, 1] -> logits ``[B, K]``.
        teacher: the same interface, often the same module.
        images: ``[B, 3, H, W]`` in [0, 1].
        targets: class indices ``[B]``.
        when: ``before`` or ``after`` the augmentation; ends the names ``entropy_`` and ``recognized_``.
    """
    log_p = classifier(images).float().log_softmax(dim=1)
    entropy = -(log_p.exp() * log_p).sum() / math.log(2)
    recognized = (teacher(images).argmax(dim=1) == targets).sum().float()
    return {f"entropy_{when}": entropy, f"recognized_{when}": recognized}
