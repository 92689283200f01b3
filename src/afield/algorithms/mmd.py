"""MMD (DAN): aligns the features of the training domains and of the new place with several kernels."""

import torch
from torch import Tensor

from afield.algorithms.parts.alignment import TARGET, Alignment
from afield.algorithms.registry import ALGORITHMS

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Widths of the kernels, as multiples of the mean squared distance."""


@ALGORITHMS.register(
    "mmd", reference="Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML 2015."
)
class MMD(Alignment):
    """Aligns features of the training domains and the unlabeled new place with several kernels (DAN).

    The loss is the objective plus `penalty` times the squared maximum mean discrepancy between the features of the
    training domains and of the new place.

    The paper uses the last three layers of AlexNet, learns the weight of each kernel, and estimates the discrepancy in
    linear time. Here, one layer of features is used, all pairs of the batch contribute, and all kernels have equal
    weight, as in the authors' code. That code sums the five kernels; here they are averaged, so that a penalty of 5
    corresponds to the authors' code. Such a penalty is too large for a network with random initial weights.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the discrepancy.

    Raises:
        ValueError: if the penalty is negative.

    References:
        Long et al., "Learning Transferable Features with Deep Adaptation Networks", ICML 2015, equations 1 to 4.
    """

    domains_at_least = 1
    needs = "layers"
    sampling = "shuffled"
    soft_targets = False
    uses_target = True
    term = "mmd"

    def distance(self, features: Tensor, domains: Tensor) -> Tensor:
        """The discrepancy between the training domains, taken together, and the new place."""
        return multi_kernel_mmd(features[domains != TARGET], features[domains == TARGET])


def multi_kernel_mmd(source: Tensor, target: Tensor) -> Tensor:
    """The squared maximum mean discrepancy of two sets of features, ``[M, D]`` and ``[N, D]``: a scalar, at least 0.

    The kernel is the mean of ``exp(-|a - b|^2 / (scale * mean squared distance))`` over `SCALES`. The mean squared
    distance is over all pairs of different examples in both sets and has no gradient.
    """
    with torch.autocast(source.device.type, enabled=False):
        both = torch.cat([source, target])
        both = both if both.dtype == torch.float64 else both.float()
        squares = (both[:, None] - both).square().sum(dim=2)
        mean = (squares.detach().sum() / (len(both) * (len(both) - 1))).clamp(min=1e-12)
        kernel = torch.stack([(-squares / (scale * mean)).exp() for scale in SCALES]).mean(dim=0)
        sizes = [len(source), len(target)]
        (within_source, across), (_, within_target) = (rows.split(sizes, dim=1) for rows in kernel.split(sizes))
        return within_source.mean() + within_target.mean() - 2 * across.mean()
