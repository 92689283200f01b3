"""DANN between training domains: features from which a discriminator cannot tell the training domain."""

from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.discriminator import two_hidden_layers
from afield.algorithms.parts.reversal import ramp, scaled_gradient
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


@ALGORITHMS.register(
    "domain_dann", reference="Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016."
)
class DomainDANN(Algorithm):
    """Learns features from which a discriminator cannot tell the training domain.

    The loss is the objective plus the cross-entropy of a discriminator between the training domains. Its gradient is
    reversed on the way to the backbone, with a factor that grows from 0 to `adversary` as in `DANN`, which does the
    same between the training domains and the new place. This is DomainBed's ``DANN``, which has a constant factor of 1
    and no dropout in the discriminator, and updates discriminator and backbone in turn, with a learning rate of its own
    for each.

    Args:
        classifier: model to train, in place.
        domain_sizes: number of training examples in each domain.
        adversary: largest factor of the reversed gradient; as in `DANN`, 0.1 replaces a smaller learning rate.
        hidden: units in each hidden layer of the discriminator, 256 in DomainBed.

    Raises:
        ValueError: if the factor is negative.

    References:
        Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 2016, equations 13 to 18.
    """

    domains_at_least = 2
    needs = "layers"
    sampling = "balanced"

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        adversary: Annotated[float, LogUniform(0.01, 100)] = 0.1,
        hidden: int = 256,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", adversary=adversary)
        self.adversary = adversary
        layers = two_hidden_layers(classifier.objective.head.in_features, hidden)
        self.discriminator = nn.Sequential(*layers, nn.Linear(hidden, len(domain_sizes)))

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``domain``, the loss of the discriminator."""
        features = self.classifier.features(batch.inputs)
        reversed_features = scaled_gradient(features, -self.adversary * ramp(batch.progress))
        return {
            "objective": self.classifier.objective(self.classifier.dropout(features), batch.targets),
            "domain": self.domain_loss(reversed_features, batch),
        }

    def domain_loss(self, features: Tensor, batch: Batch) -> Tensor:
        """The loss of the discriminator on features ``[B, D]``, a scalar."""
        return F.cross_entropy(self.discriminator(features), batch.domains)
