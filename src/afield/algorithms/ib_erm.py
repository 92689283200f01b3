"""IB-ERM: penalizes the variance of the features within each domain."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.annealing import Annealed, penalized
from afield.algorithms.parts.risks import domain_risks
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform


@ALGORITHMS.register(
    "ib_erm", reference="Ahuja et al., Invariance Principle Meets Information Bottleneck, NeurIPS 2021."
)
class IBERM(Algorithm):
    """Penalizes the variance of the features within each domain (information bottleneck).

    The loss is the mean risk over domains plus `penalty` times the variance of each feature within a domain, averaged
    over features and domains. The penalty is off during the first `anneal` fraction of the steps. Afterwards, if
    `penalty` exceeds 1, the sum is divided by it; DomainBed restarts its optimizer instead.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the variance, 100 in DomainBed.
        anneal: fraction of the steps before the penalty applies; one tenth in DomainBed (500 of 5,000).

    Raises:
        ValueError: if the penalty is negative, or `anneal` is outside [0, 1].

    References:
        Ahuja et al., "Invariance Principle Meets Information Bottleneck for Out-of-Distribution Generalization",
        NeurIPS 2021, section 4, with the variance as the bound of the entropy.
    """

    needs = "layers"
    sampling = "balanced"

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, LogUniform(0.1, 1e5)] = 100.0,
        anneal: Annotated[float, LogUniform(2e-4, 1)] = 0.1,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        self.penalty = Annealed(penalty, anneal, before=0.0)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``bottleneck``."""
        features = self.classifier.features(batch.inputs)
        risks = domain_risks(self.classifier, batch, embedded=self.classifier.dropout(features))
        variance = feature_variance(features, batch.domains)
        return penalized(risks.values.mean(), batch.progress, bottleneck=(self.penalty, variance))


def feature_variance(features: Tensor, domains: Tensor) -> Tensor:
    """Features ``[B, D]``, domains ``[B]`` -> the variance within a domain, averaged over features and domains."""
    groups = [features[domains == domain] for domain in domains.unique()]
    variances = [group.var(dim=0).mean() for group in groups if len(group) > 1]
    return torch.stack(variances).mean() if variances else features.new_zeros(())
