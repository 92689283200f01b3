"""CDANN: features from which a discriminator that knows the class cannot tell the training domain."""

from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms.algorithm import Batch
from afield.algorithms.domain_dann import DomainDANN
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform


@ALGORITHMS.register(
    "cdann",
    reference="Li et al., Deep Domain Generalization via Conditional Invariant Adversarial Networks, ECCV 2018.",
)
class CDANN(DomainDANN):
    """Like domain_dann, but the discriminator knows the class, and all classes weigh the same.

    An embedding of the class is added to the features before the discriminator. The weight of an example is inverse
    to the number of examples of its class in the batch. This is DomainBed's ``CDANN``; the paper has one discriminator
    for each class and one for all classes together.

    Args:
        classifier: model to train, in place.
        domain_sizes: number of training examples in each domain.
        adversary: largest factor of the reversed gradient; as in `DANN`, 0.1 replaces a smaller learning rate.
        hidden: units in each hidden layer of the discriminator, 256 in DomainBed.

    Raises:
        ValueError: if the factor is negative.

    References:
        Li et al., "Deep Domain Generalization via Conditional Invariant Adversarial Networks", ECCV 2018, equation 8.
    """

    soft_targets = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        adversary: Annotated[float, LogUniform(0.01, 100)] = 0.1,
        hidden: int = 256,
    ) -> None:
        super().__init__(classifier, domain_sizes, adversary=adversary, hidden=hidden)
        self.class_embedding = nn.Embedding(classifier.num_classes, classifier.objective.head.in_features)

    def domain_loss(self, features: Tensor, batch: Batch) -> Tensor:
        """The loss of the discriminator: the sum over classes of their mean losses, divided by K."""
        logits = self.discriminator(features + self.class_embedding(batch.targets))
        losses = F.cross_entropy(logits, batch.domains, reduction="none")
        counts = batch.targets.bincount(minlength=self.classifier.num_classes)
        return (losses / counts[batch.targets]).sum() / len(counts)
