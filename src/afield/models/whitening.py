"""Filters that whiten small patches: over the images they come from, their outputs have the identity as covariance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 5e-4
"""Added to each variance, which limits the gain in directions of little variance."""


def patch_covariance(images: Tensor, size: int) -> Tensor:
    """Covariance of all square patches about 0, ``[C s s, C s s]``, in float64.

    Args:
        images: ``[N, C, H, W]``.
        size: side ``s`` of a patch, in pixels.
    """
    patches = F.unfold(images.double(), size).transpose(1, 2).flatten(0, 1)
    return patches.T @ patches / len(patches)


def whitening_filters(images: Tensor, size: int, epsilon: float = EPSILON) -> Tensor:
    """Filters ``[2 C s s, C, s, s]``: eigenvectors of the covariance, scaled to variance 1, then their negatives.

    The largest variance comes first. With both signs, a rectifier after the filters loses no information. The sign of
    an eigenvector is chosen such that its largest entry is positive, so that equal images give equal filters.

    Args:
        images: ``[N, C, H, W]``, normalized.
        size: side ``s`` of a patch, in pixels.
        epsilon: added to the variances.

    References:
        Page, "How to Train Your ResNet 8: Bag of Tricks", 2019; Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single
        GPU", 2024, section 3.2.
    """
    variances, vectors = torch.linalg.eigh(patch_covariance(images, size))
    vectors = vectors.T.flip(0)
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    filters = vectors * largest.sign() / (variances.flip(0)[:, None] + epsilon).sqrt()
    filters = filters.view(-1, images.shape[1], size, size)
    return torch.cat([filters, -filters]).float()
