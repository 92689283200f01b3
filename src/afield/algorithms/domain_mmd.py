"""MMD between training domains: aligns their features with several kernels."""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.mmd import multi_kernel_mmd
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register(
    "domain_mmd", reference="Li et al., Domain Generalization with Adversarial Feature Learning, CVPR 2018."
)
class DomainMMD(Algorithm):
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

    domains_at_least = 2
    needs = "images"
    sampling = "balanced"

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int], *, penalty: float = 1.0) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", penalty=penalty)
        self.penalty = penalty

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``mmd``."""
        features = self.classifier.features(batch.inputs)
        objective = self.classifier.objective(self.classifier.dropout(features), batch.targets)
        return {"objective": objective, "mmd": self.penalty * mean_mmd(features, batch.domains)}


def mean_mmd(features: Tensor, domains: Tensor) -> Tensor:
    """Features ``[B, D]``, domains ``[B]`` -> the discrepancy averaged over all pairs of domains, a scalar."""
    groups = [features[domains == domain] for domain in domains.unique()]
    found = [multi_kernel_mmd(first, second) for first, second in combinations(groups, 2)]
    return torch.stack(found).mean() if found else features.new_zeros(())
