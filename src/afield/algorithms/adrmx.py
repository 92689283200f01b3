"""ADRMX: subtracts features of the domain from features of the class, and remixes them across domains."""

import copy
from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F
from torch import nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.contrastive import supervised_contrastive
from afield.algorithms.parts.discriminator import two_hidden_layers
from afield.algorithms.parts.pairing import partners_of_class_elsewhere
from afield.algorithms.parts.random_objective import random_objective
from afield.algorithms.parts.reversal import ramp, scaled_gradient
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within

TEMPERATURE = 0.07


@ALGORITHMS.register(
    "adrmx", reference="Demirel et al., ADRMX: Additive Disentanglement of Domain Features with Remix Loss, 2023."
)
class ADRMX(Algorithm):
    """Subtracts features of the domain from features of the class, and remixes them across domains.

    A second network, a copy of the classifier, learns features of the domain. The difference between the features of
    the classifier and those of the domain is invariant: a discriminator cannot tell the domain from it, as in
    `DomainDANN`, and a second head predicts the class from it. The classifier also learns from remixed features: the
    invariant features of an example plus the domain features of an example of its class in another domain. A
    contrastive loss draws features of one class together, once for the classifier and once for the difference. Only
    the classifier is used after training.

    Args:
        classifier: model to train, in place.
        domain_sizes: number of training examples in each domain.
        contrast: factor of both contrastive losses, 1 in DomainBed.
        remix: factor of the loss on remixed features, 1 in DomainBed.
        adversary: largest factor of the reversed gradient of the discriminator, 0.75 in DomainBed.
        hidden: units in each hidden layer of the discriminator, 256 in DomainBed.

    Raises:
        ValueError: if a factor is negative.

    References:
        Demirel et al., "ADRMX: Additive Disentanglement of Domain Features with Remix Loss", 2023, as in DomainBed,
        with these differences. The gradient of the discriminator is reversed in a single step, with a factor that
        rises from 0, where DomainBed updates a deeper discriminator twice for each step of the networks. The heads are
        those of the recipe, and a linear layer for the domains; they have hidden layers in DomainBed. Each example is
        remixed with one that the paper describes; DomainBed draws one pair for each class, and does not check its
        class and domain. The contrastive loss does not depend on the domain, as with the default weights in DomainBed,
        whose small constants in the logarithm are left out. It is averaged over the examples; DomainBed divides by one
        more than their number. Differences shorter than 0.1 are divided by 0.1 instead of their length, because the
        difference of both networks is 0 at the start.
    """

    domains_at_least = 2
    needs = "layers"
    sampling = "balanced"
    soft_targets = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        contrast: Annotated[float, LogUniform(0.1, 10)] = 1.0,
        remix: Annotated[float, LogUniform(0.1, 10)] = 1.0,
        adversary: Annotated[float, LogUniform(0.01, 10)] = 0.75,
        hidden: int = 256,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", contrast=contrast, remix=remix, adversary=adversary)
        self.contrast, self.remix, self.adversary = contrast, remix, adversary
        self.domain_branch = copy.deepcopy(classifier)
        self.domain_branch.objective = random_objective(classifier.objective)
        features, domains = classifier.objective.head.in_features, len(domain_sizes)
        self.domain_head = nn.Linear(features, domains)
        self.discriminator = nn.Sequential(*two_hidden_layers(features, hidden), nn.Linear(hidden, domains))

    def terms(self, batch: Batch) -> Terms:
        """``objective``, ``invariant``, ``domain``, ``remix``, ``contrast`` and ``adversary`` (of the discriminator).

        ``invariant`` is the objective of the second head.
        """
        objective, targets = self.classifier.objective, batch.targets
        features, of_domain = self.classifier.embed(batch.inputs), self.domain_branch.embed(batch.inputs)
        invariant = features - of_domain
        told = self.discriminator(scaled_gradient(invariant, -self.adversary * ramp(batch.progress)))
        rows, partner = partners_of_class_elsewhere(targets, batch.domains)
        remixed = invariant[rows] + of_domain[partner]
        both = [supervised_contrastive(each, targets, TEMPERATURE) for each in (features, invariant)]
        return {
            "objective": objective(features, targets),
            "invariant": self.domain_branch.objective(invariant, targets),
            "domain": F.cross_entropy(self.domain_head(of_domain), batch.domains),
            "remix": self.remix * objective(remixed, targets[rows]) if len(rows) else features.new_zeros(()),
            "contrast": self.contrast * (both[0] + both[1]),
            "adversary": F.cross_entropy(told, batch.domains),
        }
