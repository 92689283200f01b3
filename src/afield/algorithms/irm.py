"""IRM: penalizes the gradient of each domain's risk with respect to a scale on the logits."""

from collections.abc import Sequence
from typing import Annotated

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.annealing import Annealed, penalized
from afield.algorithms.parts.risks import domain_risks
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform


@ALGORITHMS.register("irm", reference="Arjovsky et al., Invariant Risk Minimization, 2019.")
class IRM(Algorithm):
    """Penalizes the gradient of each domain's risk with respect to a scale on the logits.

    The loss (IRMv1) is the mean risk over domains plus `penalty` times the mean squared gradient. If the gradient is 0
    in every domain, no domain's risk would decrease with another scale: the same classifier is optimal in all domains.

    The penalty starts after the first `anneal` fraction of the steps. If `penalty` exceeds 1, the sum is then divided
    by it, so that the gradients keep their magnitude, as in the authors' code.

    The penalty must not start before the network has learned. The squared gradient is also 0 if the logits do not
    depend on the image. On the way from there to a low risk it rises first and falls again when the network fits the
    images. A large factor at the beginning is therefore a barrier: the logits shrink to 0, and training does not
    recover.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: lambda. The authors use 91,257 on Colored MNIST, where each batch contains whole domains of 25,000
            images; DomainBed uses 100 with a pretrained network. With the default, 1, a short training
            reaches the validation accuracy of ERM. Set a larger one for long training with large batches.
        anneal: fraction of the steps before the penalty starts. In DomainBed it is a tenth (500 of 5,000 steps), with
            a factor of 1 before. The default is later, because short trainings need half of their steps to fit the
            images.

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
        anneal: Annotated[float, LogUniform(2e-4, 1)] = 0.5,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        self.penalty = Annealed(penalty, anneal, before=0.0)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``irm``."""
        risks = domain_risks(self.classifier, batch, slopes=True)
        return penalized(risks.values.mean(), batch.progress, irm=(self.penalty, risks.slopes.square().mean()))
