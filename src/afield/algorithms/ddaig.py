"""DDAIG: adds images from a network that learns to fool a domain classifier and to keep the class."""

import copy
from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.domain_network import DomainNetwork
from afield.algorithms.parts.perturbation_network import PerturbationNetwork
from afield.algorithms.parts.reversal import scaled_gradient
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


@ALGORITHMS.register(
    "ddaig", reference="Zhou et al., Deep Domain-Adversarial Image Generation for Domain Generalisation, AAAI 2020."
)
class DDAIG(Algorithm):
    """Adds images from a network that learns to fool a domain classifier and to keep the class.

    The network adds ``strength * change(x)`` to an image ``x``, with changes in [-1, 1]. It minimizes the objective of
    the classifier on the changed images minus the cross-entropy of the domain network on them. The classifier trains
    on original and changed images, the domain network on original images; both are constants for the other terms.

    Args:
        classifier: model to train, in place.
        domain_sizes: number of training examples in each domain.
        strength: lambda, the largest change of a pixel value in [0, 1]. 0.3 is Dassl's default; on photographs, Dassl
            divides pixel values by their deviation before. Changed images are not clipped to [0, 1].
        share: alpha, the weight of the changed images in the objective, 0.5 in Dassl.
        width: channels of the network that changes images, in Dassl 32 for digits and 64 for photographs.

    Raises:
        ValueError: if an option is out of range.

    References:
        Zhou et al., "Deep Domain-Adversarial Image Generation for Domain Generalisation", AAAI 2020, as in
        KaiyangZhou/Dassl.pytorch, with these differences. The common optimizer updates all networks in the same step;
        there the network that changes images is updated first, and the classifier sees its new images. The domain
        network is small; there it has the architecture of the classifier.
    """

    domains_at_least = 2
    needs = "images"

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        strength: Annotated[float, LogUniform(0.03, 1)] = 0.3,
        share: float = 0.5,
        width: int = 32,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", strength=strength)
        check_within("(0, 1]", share=share)
        self.strength, self.share = strength, share
        self.domain_network = DomainNetwork(len(domain_sizes))
        self.perturbation = PerturbationNetwork(width)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` on both kinds of images, ``domain``, and ``fooled``, minus the loss of the domain network."""
        images, targets = batch.inputs, batch.targets
        changed = images + self.strength * self.perturbation(images)
        own = self.classifier(images, targets)
        kept = self.classifier(scaled_gradient(changed, 1 / self.share), targets)
        frozen = copy.deepcopy(self.domain_network).requires_grad_(False)
        return {
            "objective": (1 - self.share) * own + self.share * kept,
            "domain": F.cross_entropy(self.domain_network(images), batch.domains),
            "fooled": -F.cross_entropy(frozen(changed), batch.domains),
        }
