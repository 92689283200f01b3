"""MMD between training domains: aligns their features with several kernels."""

from itertools import combinations

import torch
from torch import Tensor

from afield.algorithms.mmd import multi_kernel_mmd
from afield.algorithms.parts.alignment import Alignment
from afield.algorithms.registry import ALGORITHMS


@ALGORITHMS.register(
    "domain_mmd", reference="Li et al., Domain Generalization with Adversarial Feature Learning, CVPR 2018."
)
class DomainMMD(Alignment):
    """Aligns the features of the training domains with several kernels.

    The loss is the objective plus `penalty` times the squared maximum mean discrepancy, averaged over all pairs of
    training domains. This is DomainBed's ``MMD``: the paper's penalty without its autoencoder and its adversary, which
    `MMDAAE` has.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the discrepancy, 1 in DomainBed.

    Raises:
        ValueError: if the penalty is negative.

    References:
        Li et al., "Domain Generalization with Adversarial Feature Learning", CVPR 2018, equation 5, with the
        discrepancy of `multi_kernel_mmd`. DomainBed sums seven kernels of fixed width.
    """

    needs = "layers"
    term = "mmd"

    def distance(self, features: Tensor, domains: Tensor) -> Tensor:
        """The discrepancy averaged over all pairs of domains."""
        return mean_mmd(features, domains)


def mean_mmd(features: Tensor, domains: Tensor) -> Tensor:
    """Features ``[B, D]``, domains ``[B]`` -> the discrepancy averaged over all pairs of domains, a scalar."""
    groups = [features[domains == domain] for domain in domains.unique()]
    found = [multi_kernel_mmd(first, second) for first, second in combinations(groups, 2)]
    return torch.stack(found).mean() if found else features.new_zeros(())
