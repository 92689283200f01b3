"""IGA: penalizes differences between the gradients of the domains' risks."""

from collections.abc import Sequence
from typing import Annotated

import torch

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.risks import domain_risks
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


@ALGORITHMS.register(
    "iga", reference="Koyama and Yamaguchi, When is Invariance Useful in an Out-of-Distribution Problem?, 2020."
)
class IGA(Algorithm):
    """Penalizes the variance over domains of the gradient of the risk (second derivatives).

    The loss is the mean risk over domains plus `penalty` times the sum over domains of the squared distance between a
    domain's gradient and the mean gradient. The gradients are those of all weights of the classifier.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: lambda. DomainBed's default of 1,000 is for Adam at a rate of 5e-5; with SGD it diverges,
            as does 1.

    Raises:
        ValueError: if the penalty is negative.

    References:
        Koyama and Yamaguchi, "When is Invariance Useful in an Out-of-Distribution Generalization Problem?", 2020,
        the trace of the variance of the gradients. As in DomainBed, the squared distances are summed over domains.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, LogUniform(1e-4, 1)] = 0.01,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", penalty=penalty)
        self.penalty = penalty

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``iga``."""
        risks = domain_risks(self.classifier, batch).values
        weights = [weight for weight in self.classifier.parameters() if weight.requires_grad]
        slopes = [
            torch.cat([slope.flatten() for slope in torch.autograd.grad(risk, weights, create_graph=True)])
            for risk in risks
        ]
        spread = torch.stack(slopes).var(dim=0, correction=0).sum() * len(slopes)
        return {"objective": risks.mean(), "iga": self.penalty * spread}
