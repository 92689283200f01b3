"""MMD (DAN): brings the features of the training domains and of the new place together by several kernels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.algorithms.target import features_of_both
from afield.classifier import Classifier
from afield.validation import check_within

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Widths of the kernels, as multiples of the mean squared distance."""


@ALGORITHMS.register(
    "mmd", reference="Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML 2015."
)
class MMD(Algorithm):
    """Aligns the features of training domains and unlabeled new place by several kernels (DAN).

    The objective, and the squared maximum mean discrepancy between the training domains and the new place.

    The discrepancy is that of the features, once. The paper takes the last three layers of AlexNet, learns the weight
    of each kernel, and estimates it in linear time; here all pairs of the batch count, and kernels count alike, as in
    the authors' code. That code takes the sum of the five kernels, here it is their mean: a penalty of 5 is theirs. It
    is too much for a network that starts from random weights.

    Args:
        classifier: trained in place.
        domain_sizes: not used.
        penalty: factor of the discrepancy.

    Raises:
        ValueError: a negative penalty.

    References:
        Long et al., "Learning Transferable Features with Deep Adaptation Networks", ICML 2015, equations 1 to 4.
    """

    needs = "images"
    soft_targets = False
    uses_target = True

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int], *, penalty: float = 1.0) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", penalty=penalty)
        self.penalty = penalty

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``mmd``."""
        source, target = features_of_both(self.classifier, batch)
        return {
            "objective": self.classifier.objective(self.classifier.dropout(source), batch.targets),
            "mmd": self.penalty * multi_kernel_mmd(source, target),
        }


def multi_kernel_mmd(source: Tensor, target: Tensor) -> Tensor:
    """The squared maximum mean discrepancy of two sets of features, ``[M, D]`` and ``[N, D]``: a scalar, 0 at least.

    The kernel is the mean of ``exp(-|a - b|^2 / (scale * mean squared distance))`` over `SCALES`. The mean is over all
    pairs of different examples of both sets; no gradient goes through it.
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
