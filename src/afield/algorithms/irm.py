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

    A large penalty must not start before the network has learned. The squared gradient is also 0 if the logits do not
    depend on the image, and a network that has not learned is nearer to this solution than to an invariant one: its
    logits shrink to 0, and it stays there. In a training of 90 steps, a tenth is too early.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: lambda. The authors use 91,257 on Colored MNIST, where each batch contains whole domains of 25,000
            images; DomainBed uses 100 with a pretrained network. The default is lower: it does no harm in a short
            training, and is close to ERM with balanced batches. Set a large one for long training with large batches.
        anneal: fraction of the steps before a penalty above 1 has its full factor; one tenth in DomainBed (500 of
            5,000). It should end when the risk is low: see below.

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
        penalty: Annotated[float, LogUniform(0.1, 1e5)] = 1.0,
        anneal: Annotated[float, LogUniform(2e-4, 1)] = 0.1,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        self.penalty = Annealed(penalty, anneal)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``irm``."""
        risks = domain_risks(self.classifier, batch, slopes=True)
        return penalized(risks.values.mean(), batch.progress, irm=(self.penalty, risks.slopes.square().mean()))
