"""Mixup across domains: mixes each example with an example of another domain."""

from collections.abc import Sequence
from typing import Annotated

from torch.distributions import Beta

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.pairing import partners_elsewhere
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


@ALGORITHMS.register(
    "domain_mixup", reference="Gulrajani and Lopez-Paz, In Search of Lost Domain Generalization, ICLR 2021."
)
class DomainMixup(Algorithm):
    """Mixes each example and its target with an example of another domain.

    The input is ``weight * x + (1 - weight) * partner``. The objective weights the two targets in the same way.

    One weight is drawn per step. Both targets stay class indices, so that every head and loss supports them.
    Precomputed features are mixed in the same way as images.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        alpha: parameter of the distribution Beta(alpha, alpha) of the weight. 0.2 is DomainBed's default and the mixup
            paper's value on ImageNet.

    Raises:
        ValueError: if alpha is not positive.

    References:
        Xu et al., "Adversarial Domain Adaptation with Domain Mixup", AAAI 2020, and Yan et al., "Improve Unsupervised
        Domain Adaptation with Mixup Training", 2020, mix a source with a target domain; Gulrajani and Lopez-Paz,
        "In Search of Lost Domain Generalization", ICLR 2021, mix training domains, as done here. DomainBed draws a
        weight for each pair of domains, and mixes whole domains by position in the batch.
    """

    domains_at_least = 2
    sampling = "balanced"

    def __init__(
        self, classifier: Classifier, domain_sizes: Sequence[int], *, alpha: Annotated[float, LogUniform(0.1, 10)] = 0.2
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("(0, inf)", alpha=alpha)
        self.alpha = alpha

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``partner``: the weighted losses of the two targets."""
        partner = partners_elsewhere(batch.domains)
        weight = float(Beta(self.alpha, self.alpha).sample())
        embedded = self.classifier.embed(weight * batch.inputs + (1 - weight) * batch.inputs[partner])
        return {
            "objective": weight * self.classifier.objective(embedded, batch.targets),
            "partner": (1 - weight) * self.classifier.objective(embedded, batch.targets[partner]),
        }
