"""GroupDRO: upweights the domains with the highest loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.algorithms.risks import domain_risks
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register(
    "groupdro", reference="Sagawa et al., Distributionally Robust Neural Networks for Group Shifts, ICLR 2020."
)
class GroupDRO(Algorithm):
    """Upweights the domains with the highest loss.

    The weighted sum of the domains' risks; each step multiplies the weights by ``exp(rate * risk)``, normalized.

    The groups are the training domains. The paper's are pairs of class and attribute, and its remedy against
    over-fitting, strong weight decay or early stopping, is left to the settings of training.

    Args:
        classifier: trained in place.
        domain_sizes: training examples of each domain.
        rate: eta, 0.01 in the paper.

    Raises:
        ValueError: a negative rate.

    References:
        Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts", ICLR 2020, algorithm 1, with all
        domains in each batch instead of a random one.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False
    weights: Tensor

    def __init__(self, classifier: Classifier, domain_sizes: Sequence[int], *, rate: float = 0.01) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", rate=rate)
        self.rate = rate
        self.register_buffer("weights", torch.full((len(domain_sizes),), 1 / len(domain_sizes)))

    def terms(self, batch: Batch) -> Terms:
        """``objective``: the weighted sum, after the update of the weights."""
        domains, risks, _ = domain_risks(self.classifier, batch)
        with torch.no_grad():
            self.weights[domains] *= (self.rate * risks).exp()
            self.weights /= self.weights.sum()
        return {"objective": self.weights[domains] @ risks}
