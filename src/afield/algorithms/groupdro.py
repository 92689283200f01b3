"""GroupDRO: upweights the domains with the highest loss."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.risks import domain_risks
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


@ALGORITHMS.register(
    "groupdro", reference="Sagawa et al., Distributionally Robust Neural Networks for Group Shifts, ICLR 2020."
)
class GroupDRO(Algorithm):
    """Upweights the domains with the highest loss.

    The loss is the weighted sum of the domains' risks. Each step multiplies the weights by ``exp(rate * risk)`` and
    normalizes them to sum 1.

    The groups are the training domains. In the paper they are pairs of class and attribute. The paper uses strong
    weight decay or early stopping against overfitting; here the training settings control both.

    Args:
        classifier: model to train, in place.
        domain_sizes: number of training examples in each domain.
        rate: eta, the step size of the weights, 0.01 in the paper.

    Raises:
        ValueError: if the rate is negative.

    References:
        Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020, algorithm 1. Each batch
        contains all domains instead of one random domain.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False
    weights: Tensor

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        rate: Annotated[float, LogUniform(1e-3, 0.1)] = 0.01,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", rate=rate)
        self.rate = rate
        self.register_buffer("weights", torch.full((len(domain_sizes),), 1 / len(domain_sizes)))

    def terms(self, batch: Batch) -> Terms:
        """``objective``: the weighted sum of the risks, with the updated weights."""
        domains, risks, _ = domain_risks(self.classifier, batch)
        with torch.no_grad():
            self.weights[domains] *= (self.rate * risks).exp()
            self.weights /= self.weights.sum()
        return {"objective": self.weights[domains] @ risks}
