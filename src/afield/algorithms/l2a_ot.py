"""L2A-OT: generates images of novel domains that are far from the training domains."""

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.domain_network import DomainNetwork
from afield.algorithms.parts.image_generator import ImageGenerator
from afield.algorithms.parts.optimal_transport import transport_distance
from afield.algorithms.parts.reversal import scaled_gradient
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register(
    "l2a_ot", reference="Zhou et al., Learning to Generate Novel Domains for Domain Generalization, ECCV 2020."
)
class L2AOT(Algorithm):
    """Adds images from a generator of novel domains, far from the training domains by optimal transport.

    The number of novel domains equals the number of training domains. The images of a batch are divided equally among
    the novel domains. The distance between two domains is the optimal transport cost between features of a domain
    network, with one minus the cosine as the cost. The generator maximizes the distances from the novel domains to the
    training domains and between the novel domains. It preserves the class, measured by the objective of the
    classifier, and must be able to translate the image back to its original domain (cycle consistency).

    During the warm-up the classifier trains as in ERM, together with the domain network, which is frozen afterwards.
    The paper trains the domain network and a second classifier, which preserves the class, to convergence beforehand.
    It trains the generator with Adam at 3e-4; here the common optimizer trains it. The generator and the domain network
    are small and are used during training only.

    Expect little of it in a short training: generator and domain network start from random weights, the generator is
    used from the end of the warm-up on, and half of the objective is then the loss on images that may not show a class
    yet.

    Args:
        classifier: model to train, in place.
        domain_sizes: number of training examples in each domain.
        share: alpha, the weight of generated images in the objective.
        distance: lambda of both distances; the paper selects it for each data set.
        cycle: lambda of the mean absolute error of the cycle, 10 in the paper.
        keep: lambda of the classification loss in the generator, 1 in the paper.
        warmup: fraction of the steps before images are generated.

    Raises:
        ValueError: if an option is out of range.

    References:
        Zhou et al., "Learning to Generate Novel Domains for Domain Generalization", ECCV 2020. The authors have not
        published code. The pairing of domains is our choice: each novel domain, which contains images of all training
        domains, is paired with each training domain and with each other novel domain.
    """

    domains_at_least = 2
    needs = "images"
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        share: float = 0.5,
        distance: float = 1.0,
        cycle: float = 10.0,
        keep: float = 1.0,
        warmup: float = 0.1,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("(0, 1]", share=share)
        check_within("[0, 1]", warmup=warmup)
        check_within("[0, inf)", distance=distance, cycle=cycle, keep=keep)
        self.share, self.distance, self.cycle, self.keep, self.warmup = share, distance, cycle, keep, warmup
        self.count = len(domain_sizes)
        self.domain_network = DomainNetwork(self.count)
        self.generator = ImageGenerator(2 * self.count)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``domain`` at first; then ``objective``, ``novelty``, ``diversity`` and ``cycle``."""
        objective = self.classifier(batch.inputs, batch.targets)
        if batch.progress < self.warmup:
            domain = F.cross_entropy(self.domain_network(batch.inputs), batch.domains)
            return {"objective": objective, "domain": domain}
        novel = (torch.randperm(len(batch.inputs)) % self.count).to(batch.inputs.device)
        images = self.generator(batch.inputs, self.count + novel)
        back = self.generator(images, batch.domains)
        kept = self.classifier(scaled_gradient(images, self.keep / self.share), batch.targets)
        novelty, diversity = self.distances(batch.inputs, batch.domains, images, novel)
        return {
            "objective": (1 - self.share) * objective + self.share * kept,
            "novelty": -self.distance * novelty,
            "diversity": -self.distance * diversity,
            "cycle": self.cycle * F.l1_loss(back, batch.inputs),
        }

    def distances(self, images: Tensor, domains: Tensor, generated: Tensor, novel: Tensor) -> tuple[Tensor, Tensor]:
        """The mean distances between novel and training domains, and between novel domains; two scalars.

        Args:
            images: training images ``[B, 3, H, W]``.
            domains: training domain of each image, ``[B]``.
            generated: generated images ``[B, 3, H, W]``.
            novel: novel domain of each generated image, ``[B]``.
        """
        features = self.domain_network.frozen_features(torch.cat([images, generated]))
        real, drawn = features.split([len(images), len(generated)])
        sources = [real[domains == domain] for domain in domains.unique()]
        novelties = [drawn[novel == domain] for domain in novel.unique()]
        novelty = [transport_distance(a, b) for a in novelties for b in sources]
        diversity = [transport_distance(a, b) for a, b in combinations(novelties, 2)]
        return torch.stack(novelty).mean(), torch.stack(diversity).mean() if diversity else features.new_zeros(())
