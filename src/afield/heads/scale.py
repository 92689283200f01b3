"""How large a scale a head on the unit sphere needs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

AUTO_FACTOR = 2.0


def scale_floor(num_classes: int, probability: float = 0.9) -> float:
    """The smallest scale at which logits in ``[-s, s]`` can give one class this probability.

    ``s = (K-1)/K * log((K-1) P / (1-P))``, for K >= 2: 4.0, 6.7 and 9.1 for 10, 100 and 1000 classes at 0.9.
    It assumes class vectors spread as a regular simplex, where the wrong cosines are ``-1/(K-1)``.

    References:
        Wang et al., "CosFace", CVPR 2018, equation 6.
    """
    wrong = num_classes - 1
    return wrong / num_classes * math.log(wrong * probability / (1 - probability))


def reachable_probability(scale: float, num_classes: int) -> float:
    """The largest probability of a class that logits in ``[-s, s]`` allow: ``e^s / (e^s + (K-1) e^-s)``.

    0.45, 0.07 and 0.007 for 10, 100 and 1000 classes at ``s = 1``. Not all classes reach it at once: that
    would need every wrong cosine at -1 (see `scale_floor`).
    """
    return 1 / (1 + (num_classes - 1) * math.exp(-2 * scale))


def resolve_scale(scale: float | str, num_classes: int, names: Sequence[str]) -> float:
    """The scale as a number; ``"auto"`` is twice the floor: 8, 13 and 18 for 10, 100 and 1000 classes.

    The floor only makes the target reachable; a head that starts there has flat gradients on what it has
    nearly learned. A number below the floor warns with the probability that it can reach. ``"learned"`` starts as
    ``"auto"``, ``"adaptive"`` at ``sqrt(2) log(K-1)``.

    Args:
        scale: a number or a name.
        num_classes: K.
        names: the names that the head allows.

    Raises:
        ValueError: the scale is neither one of the names nor a positive number, there are fewer than 2 classes, or
            fewer than 3 for an adaptive scale.
    """
    if num_classes < 2:
        raise ValueError(f"a head needs at least 2 classes, got num_classes={num_classes}")
    if (isinstance(scale, str) and scale not in names) or (not isinstance(scale, str) and not 0 < scale < math.inf):
        allowed = ", ".join(f'"{name}"' for name in names)
        raise ValueError(f"scale must be {allowed} or a positive number, got {scale!r}")
    floor = scale_floor(num_classes)
    if scale == "adaptive":
        if num_classes < 3:
            raise ValueError(f"an adaptive scale needs at least 3 classes, got num_classes={num_classes}")
        return math.sqrt(2) * math.log(num_classes - 1)
    if isinstance(scale, str):
        return AUTO_FACTOR * floor
    if scale < floor:
        warnings.warn(
            f"scale={scale:g} is below the floor of {floor:.1f} for {num_classes} classes: no class can reach a "
            f'probability above {reachable_probability(scale, num_classes):.3f}; scale="auto" is safe',
            UserWarning,
            stacklevel=3,
        )
    return float(scale)


def adapted_scale(scale: Tensor, cosines: Tensor, targets: Tensor) -> Tensor:
    """The scale that AdaCos takes after seeing a batch: ``log(B_avg) / cos(min(pi/4, theta_med))``.

    ``B_avg`` is the batch's mean of ``sum_{j != y} exp(s cos(theta_j))`` at the scale before, ``theta_med`` the
    median of the target angles.

    Args:
        scale: ``[]``, before.
        cosines: ``[B, K]``.
        targets: class indices ``[B]``.

    Returns:
        ``[]``.

    References:
        Zhang et al., "AdaCos", CVPR 2019, equations 15 and 16.
    """
    index = targets[:, None]
    others = (scale * cosines).scatter(1, index, -torch.inf)
    log_average = others.flatten().logsumexp(dim=0) - math.log(len(targets))
    median = -(-cosines.gather(1, index)).median()  # of an even number of angles the lower one, as in the authors' code
    return log_average / median.clamp(min=math.cos(math.pi / 4))
