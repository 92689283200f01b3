"""Whitening filters of small patches: the covariance of their outputs on the given images is the identity."""

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 5e-4
"""Added to each variance to limit the gain in directions of small variance."""


def patch_covariance(images: Tensor, size: int) -> Tensor:
    """Second moments of all square patches, ``[C s s, C s s]``, in float64, without subtracting the mean.

    Args:
        images: ``[N, C, H, W]``.
        size: side ``s`` of a patch, in pixels.
    """
    patches = F.unfold(images.double(), size).transpose(1, 2).flatten(0, 1)
    return patches.T @ patches / len(patches)


def whitening_filters(images: Tensor, size: int, epsilon: float = EPSILON) -> Tensor:
    """Filters ``[2 C s s, C, s, s]``: eigenvectors of the covariance scaled to variance 1, followed by their negatives.

    The filters are sorted by decreasing variance. With both signs, an activation such as ReLU loses no information. The
    largest entry of each eigenvector is positive, so that equal images give equal filters.

    Args:
        images: normalized images ``[N, C, H, W]``.
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
