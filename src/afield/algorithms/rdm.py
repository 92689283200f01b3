"""RDM: matches the distribution of the risks in the worst domain to that in all domains."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.mmd import multi_kernel_mmd
from afield.algorithms.parts.annealing import Annealed, penalized
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import Uniform


@ALGORITHMS.register("rdm", reference="Nguyen et al., Domain Generalisation via Risk Distribution Matching, WACV 2024.")
class RDM(Algorithm):
    """Matches the distribution of the losses in the worst domain to that in all domains.

    The loss is the objective plus `penalty` times the squared maximum mean discrepancy between the cross-entropies of
    the examples of the domain with the highest mean and those of all examples. The penalty is off during the first
    `anneal` fraction of the steps. Afterwards, if `penalty` exceeds 1, the sum is divided by it; DomainBed restarts its
    optimizer instead, with a lower learning rate.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: lambda; 5 in DomainBed.
        anneal: fraction of the steps before the penalty applies; 0.3 in DomainBed (1,500 of 5,000).

    Raises:
        ValueError: if the penalty is negative, or `anneal` is outside [0, 1].

    References:
        Nguyen et al., "Domain Generalisation via Risk Distribution Matching", WACV 2024, equation 9, with the
        discrepancy of `multi_kernel_mmd` and without the term for the variance in the authors' code.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, Uniform(0.1, 10)] = 5.0,
        anneal: Annotated[float, Uniform(0.16, 0.54)] = 0.3,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        self.penalty = Annealed(penalty, anneal, before=0.0)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``rdm``."""
        objective, embedded = self.classifier.objective, self.classifier.embed(batch.inputs)
        losses = F.cross_entropy(objective.logits(embedded), batch.targets, reduction="none")
        domains = [losses[batch.domains == domain] for domain in batch.domains.unique()]
        worst = domains[int(torch.stack([domain.mean() for domain in domains]).argmax())]
        distance = multi_kernel_mmd(worst[:, None], losses[:, None])
        return penalized(objective(embedded, batch.targets), batch.progress, rdm=(self.penalty, distance))
