"""ARM: a context network adapts the images to the other images of their domain."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.group_means import group_means
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_number


@ALGORITHMS.register(
    "arm", reference="Zhang et al., Adaptive Risk Minimization: Learning to Adapt to Domain Shift, NeurIPS 2021."
)
class ARM(Algorithm):
    """Adds a context of the domain to each image: the mean output of a network over several images.

    The images of a domain in the batch are divided into support sets. A context network maps each image to a map of
    the same size, and the mean over a support set is its context. The classifier sees each image plus the context of
    its support set minus the mean context of the batch. The context network is trained with the classifier.

    A prediction does not depend on other images: it uses the mean context of the training domains, which is 0 by this
    definition. The context network is therefore part of the training only, and the result is a plain classifier. The
    paper instead computes the context from a batch of the new place at prediction, so results differ from the paper's.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        support: largest number of images in a support set; 8 in DomainBed.
        width: channels of the two hidden layers of the context network, 64 in DomainBed. These layers have the
            resolution of the image: large images are much faster with a smaller width.

    Raises:
        InputError: if an option is not a whole number from 1 to 10,000.

    References:
        Zhang et al., "Adaptive Risk Minimization: Learning to Adapt to Domain Shift", NeurIPS 2021, section 4.1
        (ARM-CML). There, the context is an additional channel of the image; here it is added to the three channels, so
        that the architecture of the backbone does not change. The mean context of the batch is subtracted here, not in
        the paper and in DomainBed. The optimizer of DomainBed does not update the context network, which keeps its
        random weights; here and in the paper it learns. A batch that cannot be divided into sets of 8 is a single set
        in DomainBed.
    """

    domains_at_least = 2
    needs = "images"
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self, classifier: Classifier, domain_sizes: Sequence[int], *, support: int = 8, width: int = 64
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_number("support", support, 1, 10_000, whole=True)
        check_number("width", width, 1, 10_000, whole=True)
        self.support = support
        self.context = nn.Sequential(
            *(nn.Conv2d(3, width, 5, padding=2), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
            *(nn.Conv2d(width, width, 5, padding=2), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
            nn.Conv2d(width, 3, 5, padding=2),
        )

    def terms(self, batch: Batch) -> Terms:
        """``objective``, on the images with their contexts."""
        maps = self.context(self.classifier.normalize(batch.inputs))
        sets = support_sets(batch.domains, self.support)
        context = group_means(maps, sets)[sets] - maps.mean(dim=0)
        return {"objective": self.classifier(batch.inputs + self.classifier.std * context, batch.targets)}


def support_sets(domains: Tensor, size: int) -> Tensor:
    """Domains ``[B]`` -> the index of the support set of each example, ``[B]``.

    A set has up to `size` consecutive examples of one domain. The last set of a domain can be smaller.
    """
    member = F.one_hot(domains)
    position = (member.cumsum(dim=0) * member).sum(dim=1) - 1
    sets: Tensor = (domains * len(domains) + position // size).unique(return_inverse=True)[1]
    return sets
