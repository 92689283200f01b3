"""V-REx: penalizes the variance of the risk over domains."""

from collections.abc import Sequence
from typing import Annotated

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.annealing import Annealed, penalized
from afield.algorithms.parts.risks import domain_risks
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform


@ALGORITHMS.register(
    "vrex", reference="Krueger et al., Out-of-Distribution Generalization via Risk Extrapolation, ICML 2021."
)
class VREx(Algorithm):
    """Penalizes the variance of the risk over domains.

    The loss is the mean risk over domains plus `penalty` times the variance of the risks.

    During the first `anneal` fraction of the steps the factor of the penalty is at most 1. Afterwards, if `penalty`
    exceeds 1, the sum is divided by it, as in the authors' code.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: beta. The authors use 10,000 on Colored MNIST, where each batch contains whole domains of 25,000
            images; DomainBed uses 10 with a pretrained network. With the default, 1, the sum is not divided, and a
            short training reaches the validation accuracy of ERM. Set a larger one for long training with large
            batches.
        anneal: fraction of the steps before a penalty above 1 has its full factor; one tenth in DomainBed (500 of
            5,000). It should end when the risk is low: the risks are also equal if the network has not learned.

    Raises:
        ValueError: if the penalty is negative, or `anneal` is outside [0, 1].

    References:
        Krueger et al., "Out-of-Distribution Generalization via Risk Extrapolation", ICML 2021, equation 8, with the
        mean of the risks instead of their sum. The variance divides by the number of domains.
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
        """``objective`` and ``vrex``."""
        risks = domain_risks(self.classifier, batch).values
        return penalized(risks.mean(), batch.progress, vrex=(self.penalty, risks.var(correction=0)))
