"""CrossGrad: perturbs images along the gradient of a domain classifier's loss."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.domain_network import DomainNetwork
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register(
    "crossgrad", reference="Shankar et al., Generalizing Across Domains via Cross-Gradient Training, ICLR 2018."
)
class CrossGrad(Algorithm):
    """Adds images perturbed along the gradient of a domain classifier's loss.

    The classifier trains on ``x`` and ``x + step * dJ_domain/dx``. The domain network trains on ``x`` and
    ``x + step * dJ_class/dx``. The classifier thus learns to ignore changes of domain, and the domain network learns
    to ignore changes of class. The perturbed images are constants: each network receives gradients from its own loss
    only.

    In the paper the classifier also receives the features of the domain network. Here the classifier is unchanged,
    and the domain network is small and is used during training only. Each image is perturbed with the gradient of its
    own loss, independent of the batch size.

    Args:
        classifier: model to train, in place.
        domain_sizes: number of training examples in each domain.
        step: epsilon, the step of both perturbations, in pixel values in [0, 1] per unit of gradient. The paper
            selects it by validation; 1 is Dassl's default. Perturbed images are not clipped to [0, 1].
        share: alpha, the weight of the perturbed images in both losses.

    Raises:
        ValueError: if an option is out of range.

    References:
        Shankar et al., "Generalizing Across Domains via Cross-Gradient Training", ICLR 2018, algorithm 1. Dassl
        takes the gradient of the mean loss of the batch, which is smaller by the batch size, and clamps it to
        [-0.1, 0.1] for each pixel value. Here the gradient is that of each image and is not clamped, so that the same
        `step` moves an image further.
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
        """``objective`` and ``domain``, each on original and perturbed images."""
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
        """Images moved one step along the gradient of a loss that is their mean."""
        (slope,) = torch.autograd.grad(loss * len(images), images, retain_graph=True)
        return images.detach() + self.step * slope
