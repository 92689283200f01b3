"""CrossGrad: perturbs images along the gradient of a domain classifier's loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.domain_network import DomainNetwork
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register(
    "crossgrad", reference="Shankar et al., Generalizing Across Domains via Cross-Gradient Training, ICLR 2018."
)
class CrossGrad(Algorithm):
    """Adds images perturbed along the gradient of a domain classifier's loss.

    The objective on images, and on images moved along the gradient of a domain network's loss; and the reverse.

    The classifier learns from ``x`` and ``x + step * dJ_domain/dx``, the domain network from ``x`` and
    ``x + step * dJ_class/dx``: what moves the domain shall not move the class, and what moves the class tells nothing
    of the domain. A moved image is a constant, so that each network learns from its own loss alone.

    The paper's classifier is given the domain network's features too. Here it stays as it is; and the domain network,
    which only training has, is small. The gradient is that of each image's own loss, whatever the size of the batch.

    Args:
        classifier: trained in place.
        domain_sizes: training examples of each domain.
        step: epsilon, of both, in pixel values in [0, 1] per unit of gradient. The paper chooses it by validation;
            1 is Dassl's default. Moved images are not cut to [0, 1].
        share: alpha, of moved images in both losses.

    Raises:
        ValueError: an option out of bounds.

    References:
        Shankar et al., "Generalizing Across Domains via Cross-Gradient Training", ICLR 2018, algorithm 1.
    """

    domains_at_least = 2
    needs = "images"

    def __init__(
        self, classifier: Classifier, domain_sizes: Sequence[int], *, step: float = 1.0, share: float = 0.5
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", step=step)
        check_within("[0, 1]", share=share)
        self.step, self.share = step, share
        self.domain_network = DomainNetwork(len(domain_sizes))

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``domain``, each on images as they are and moved."""
        images = batch.inputs.detach().requires_grad_()
        objective = self.classifier(images, batch.targets)
        domain = F.cross_entropy(self.domain_network(images), batch.domains)
        other_domain, other_class = self.moved(images, domain), self.moved(images, objective)
        moved_objective = self.classifier(other_domain, batch.targets)
        moved_domain = F.cross_entropy(self.domain_network(other_class), batch.domains)
        return {
            "objective": (1 - self.share) * objective + self.share * moved_objective,
            "domain": (1 - self.share) * domain + self.share * moved_domain,
        }

    def moved(self, images: Tensor, loss: Tensor) -> Tensor:
        """Images a step up the gradient of a loss that is a mean over them."""
        (slope,) = torch.autograd.grad(loss * len(images), images, retain_graph=True)
        return images.detach() + self.step * slope
