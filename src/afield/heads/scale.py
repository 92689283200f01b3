"""The scale of cosine heads: default, lower bound and AdaCos update."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

AUTO_FACTOR = 2.0


def scale_floor(num_classes: int, probability: float = 0.9) -> float:
    """The smallest scale ``s`` with which logits in ``[-s, s]`` can give each class the probability P.

    ``s = (K-1)/K * log((K-1) P / (1-P))`` for K >= 2. At P = 0.9 it is 4.0, 6.7 and 9.1 for 10, 100 and 1000 classes.
    The formula assumes class vectors that form a regular simplex, where the cosines of wrong classes are ``-1/(K-1)``.

    References:
        Wang et al., "CosFace", CVPR 2018, equation 6.
    """
    wrong = num_classes - 1
    return wrong / num_classes * math.log(wrong * probability / (1 - probability))


def reachable_probability(scale: float, num_classes: int) -> float:
    """The largest probability of a class with logits in ``[-s, s]``: ``e^s / (e^s + (K-1) e^-s)``.

    At ``s = 1`` it is 0.45, 0.07 and 0.007 for 10, 100 and 1000 classes. Not all classes can reach it at the same time,
    because the cosines of all wrong classes would have to be -1 (see `scale_floor`).
    """
    return 1 / (1 + (num_classes - 1) * math.exp(-2 * scale))


def resolve_scale(scale: float | str, num_classes: int, names: Sequence[str]) -> float:
    """Convert a scale to a number.

    ``"auto"`` is twice the floor (`scale_floor`): 8, 13 and 18 for 10, 100 and 1000 classes. At the floor itself the
    target probability is just reachable, and examples that are almost learned have small gradients. ``"learned"``
    starts at the same value, ``"adaptive"`` at ``sqrt(2) log(K-1)``. A number below the floor gives a warning with the
    largest reachable probability.

    Args:
        scale: a number or a name.
        num_classes: K.
        names: names that the head supports.

    Raises:
        ValueError: if the scale is neither one of the names nor a positive number, or if there are fewer than 2
            classes, or fewer than 3 for an adaptive scale.
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
    """The AdaCos update of the scale from a batch: ``log(B_avg) / cos(min(pi/4, theta_med))``.

    ``B_avg`` is the mean of ``sum_{j != y} exp(s cos(theta_j))`` over the batch, with the previous scale ``s``.
    ``theta_med`` is the median of the target angles.

    Args:
        scale: previous scale, a scalar tensor.
        cosines: cosines ``[B, K]``.
        targets: class indices ``[B]``.

    Returns:
        The new scale, a scalar tensor.

    References:
        Zhang et al., "AdaCos", CVPR 2019, equations 15 and 16.
    """
    index = targets[:, None]
    others = (scale * cosines).scatter(1, index, -torch.inf)
    log_average = others.flatten().logsumexp(dim=0) - math.log(len(targets))
    median = -(-cosines.gather(1, index)).median()  # the lower median angle, as in the authors' code
    return log_average / median.clamp(min=math.cos(math.pi / 4))
