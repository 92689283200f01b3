"""MTL: the head also sees the mean features of the domain."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.group_means import group_means
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import Choice
from afield.validation import check_within


@ALGORITHMS.register(
    "mtl", reference="Blanchard et al., Domain Generalization by Marginal Transfer Learning, JMLR 2021."
)
class MTL(Algorithm):
    """Classifies features together with an embedding of their domain, the mean of its features.

    The embedding of a domain is a moving average of the mean features of its examples. A linear layer maps the
    difference between the embedding and the mean embedding of the domains to a vector that is added to the features
    before the head. For a linear head with at most D classes, this is as general as a head on the concatenation of
    features and embedding, and it works with all heads.

    A prediction does not depend on other images: it uses the mean embedding of the training domains, for which the
    added vector is 0. The result is therefore a plain classifier. The paper and DomainBed instead compute the
    embedding from images of the new place at prediction, so results differ from theirs.

    Args:
        classifier: model to train, in place.
        domain_sizes: number of training examples in each domain.
        decay: decay of the moving average per step; 0.01 in DomainBed, whose option is 1 minus the decay.

    Raises:
        ValueError: if the decay is outside [0, 1).

    References:
        Blanchard et al., "Domain Generalization by Marginal Transfer Learning", JMLR 2021, section 4, in the form of
        DomainBed, for networks instead of kernels. DomainBed's code replaces the embedding by random numbers before
        the head; here the head sees the embedding. It also adds up the losses of the domains, which are averaged here.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False
    embeddings: Tensor
    """Moving average of the mean features of each domain, ``[E, D]``."""

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        decay: Annotated[float, Choice((0.0, 0.01, 0.1, 0.5))] = 0.01,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, 1)", decay=decay)
        self.decay = decay
        features = classifier.objective.head.in_features
        self.context = nn.Linear(features, features, bias=False)
        self.register_buffer("embeddings", torch.zeros(len(domain_sizes), features))

    def terms(self, batch: Batch) -> Terms:
        """``objective``, on the features with the contexts of their domains."""
        features = self.classifier.features(batch.inputs)
        domains, rows = batch.domains.unique(return_inverse=True)
        means = group_means(features, rows).to(self.embeddings.dtype)
        followed = self.embeddings[domains].lerp(means, 1 - self.decay)
        self.embeddings[domains] = followed.detach()
        context = self.context(centered(followed))
        embedded = self.classifier.dropout(features) + context[rows]
        return {"objective": self.classifier.objective(embedded, batch.targets)}


def centered(embeddings: Tensor) -> Tensor:
    """Embeddings ``[E, D]`` minus their mean."""
    return embeddings - embeddings.mean(dim=0)
