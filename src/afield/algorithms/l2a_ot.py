"""L2A-OT: generates images of novel domains that are far from the training domains."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.domain_network import DomainNetwork
from afield.algorithms.image_generator import ImageGenerator
from afield.algorithms.optimal_transport import transport_distance
from afield.algorithms.registry import ALGORITHMS
from afield.algorithms.reversal import scaled_gradient
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register(
    "l2a_ot", reference="Zhou et al., Learning to Generate Novel Domains for Domain Generalization, ECCV 2020."
)
class L2AOT(Algorithm):
    """Adds images from a generator of novel domains, far from the training domains by optimal transport.

    The objective, half of it on images that a generator moves into novel domains.

    There are as many novel domains as training domains, and each image of a batch is given one of them, equally many
    to each. A domain network's features say how far the novel domains are from the training domains and from each
    other, by optimal transport with one minus the cosine as cost. The generator makes both distances large, keeps the
    class by the classifier's own objective, and has to be able to draw the image's own domain back.

    For the first share of the steps the classifier trains as in ERM, and the domain network with it, which then stays
    as it is. The paper trains it, and a second classifier that keeps the class, to the end beforehand; and it steps
    the generator with Adam at 3e-4, here the common optimizer does. Generator and domain network are there in
    training only, and small.

    Args:
        classifier: trained in place.
        domain_sizes: training examples of each domain.
        share: alpha, of generated images in the objective.
        distance: lambda of the two distances; the paper chooses it for each data set.
        cycle: lambda of the mean absolute error of the image drawn back, 10 in the paper.
        keep: lambda of the class's loss in the generator, 1 in the paper.
        warmup: share of the steps before images are generated.

    Raises:
        ValueError: an option out of bounds.

    References:
        Zhou et al., "Learning to Generate Novel Domains for Domain Generalization", ECCV 2020. The
        authors have published no code. Which domains are paired is ours: each novel one with each training domain
        and with each other, where every novel one holds images of all training domains.
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
        """The mean distance of a novel from a training domain, and of one novel domain from another; two scalars.

        Args:
            images: ``[B, 3, H, W]``.
            domains: of these, ``[B]``.
            generated: ``[B, 3, H, W]``.
            novel: domains of these, ``[B]``.
        """
        features = self.domain_network.frozen_features(torch.cat([images, generated]))
        real, drawn = features.split([len(images), len(generated)])
        sources = [real[domains == domain] for domain in domains.unique()]
        novelties = [drawn[novel == domain] for domain in novel.unique()]
        novelty = [transport_distance(a, b) for a in novelties for b in sources]
        diversity = [transport_distance(a, b) for a, b in combinations(novelties, 2)]
        return torch.stack(novelty).mean(), torch.stack(diversity).mean() if diversity else features.new_zeros(())
