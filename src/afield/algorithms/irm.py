"""IRM: penalizes the gradient of each domain's risk with respect to a scale on the logits."""

from collections.abc import Sequence
from typing import Annotated

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.annealing import Annealed, penalized
from afield.algorithms.registry import ALGORITHMS
from afield.algorithms.risks import domain_risks
from afield.classifier import Classifier
from afield.distributions import LogUniform


@ALGORITHMS.register("irm", reference="Arjovsky et al., Invariant Risk Minimization, 2019.")
class IRM(Algorithm):
    """Penalizes the gradient of each domain's risk with respect to a scale on the logits.

    The loss (IRMv1) is the mean risk over domains plus `penalty` times the mean squared gradient. If the gradient is 0
    in every domain, no domain's risk would decrease with another scale: the same classifier is optimal in all domains.

    During the first `anneal` fraction of the steps the factor of the penalty is at most 1. Afterwards, if `penalty`
    exceeds 1, the sum is divided by it, so that the gradients keep their magnitude, as in the authors' code.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: lambda. The authors use 91,257 on Colored MNIST, where each batch contains whole domains of 25,000
            images. The default is DomainBed's, for small batches.
        anneal: fraction of the steps before the full penalty applies; one tenth in DomainBed (500 of 5,000).

    Raises:
        ValueError: if the penalty is negative, or `anneal` is outside [0, 1].

    References:
        Arjovsky et al., "Invariant Risk Minimization", 2019, equation IRMv1. DomainBed multiplies the gradients of
        two halves of a batch, which is an unbiased estimate. Here the gradient is squared, as in the paper.
    """

    domains_at_least = 2
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
        self.penalty = Annealed(penalty, anneal)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``irm``."""
        risks = domain_risks(self.classifier, batch, slopes=True)
        return penalized(risks.values.mean(), batch.progress, irm=(self.penalty, risks.slopes.square().mean()))
