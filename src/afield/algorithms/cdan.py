"""CDAN+E: a discriminator on products of features and probabilities, with examples weighted by their certainty."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.discriminator import Discriminator
from afield.algorithms.parts.reversal import ramp
from afield.algorithms.parts.target import entropy, features_of_both
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within

LARGEST, PROJECTIONS = 4096, 1024
"""Largest number of products for the discriminator, and the number of random projections if there are more products."""


@ALGORITHMS.register("cdan", reference="Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018.")
class CDAN(Algorithm):
    """Like dann, but the discriminator receives products of features and probabilities (CDAN+E).

    The loss is the objective plus the loss of a discriminator between the training domains and the unlabeled new place.
    The input of the discriminator is the outer product of features and probabilities, or 1024 random projections of it
    if it has more than 4096 entries. The weight of each example is ``1 + exp(-H)``, where H is the entropy of its
    prediction (CDAN+E). The weights of the training domains sum to 1, and so do the weights of the new place. The
    gradient is reversed with the same schedule as in `DANN`. As in the authors' code, the probabilities have no
    gradient; unlike there, the weights have none either.

    The paper has one source domain; here all training domains together are the source. All parts have the same learning
    rate; in the authors' code, the learning rate of the backbone is a tenth of the discriminator's.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        adversary: largest factor of the reversed gradient; 1 in the paper.
        hidden: units in each hidden layer of the discriminator; 1024 in the authors' code.

    Raises:
        ValueError: if the factor is negative.

    References:
        Long et al., "Conditional Adversarial Domain Adaptation", NeurIPS 2018, equations 4 to 9.
    """

    needs = "layers"
    soft_targets = False
    uses_target = True

    def __init__(
        self, classifier: Classifier, domain_sizes: Sequence[int], *, adversary: float = 1.0, hidden: int = 1024
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", adversary=adversary)
        self.adversary = adversary
        features, classes = classifier.objective.head.in_features, classifier.num_classes
        small = features * classes <= LARGEST
        self.product = OuterProduct() if small else RandomProduct(features, classes, PROJECTIONS)
        self.discriminator = Discriminator(features * classes if small else PROJECTIONS, hidden)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``domain``, the loss of the discriminator."""
        source, target = features_of_both(self.classifier, batch)
        seen, weights = zip(self._seen(source), self._seen(target), strict=True)
        losses = self.discriminator.losses(*seen, self.adversary * ramp(batch.progress))
        sides = [(weight * loss).sum() for weight, loss in zip(weights, losses, strict=True)]
        return {
            "objective": self.classifier.objective(self.classifier.dropout(source), batch.targets),
            "domain": (sides[0] + sides[1]) / 2,
        }

    def _seen(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs of the discriminator for features ``[B, D]``, and the weights ``[B]``, which sum to 1."""
        with torch.no_grad():
            logits = self.classifier.objective.logits(features)
            weights = 1 + (-entropy(logits)).exp()
        return self.product(features, logits.softmax(dim=1)), weights / weights.sum()


class OuterProduct(nn.Module):
    """Features ``[B, D]`` and probabilities ``[B, K]`` -> all their products, ``[B, K D]``."""

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """See the class."""
        return (probabilities[:, :, None] * features[:, None, :]).flatten(1)


class RandomProduct(nn.Module):
    """Features ``[B, D]`` and probabilities ``[B, K]`` -> random projections of their outer product, ``[B, M]``.

    Both are multiplied by fixed random normal matrices; the results are multiplied entry by entry and divided by the
    square root of M. The expected inner product of two results is the inner product of the outer products.

    References:
        Long et al., NeurIPS 2018, equation 6.
    """

    of_features: Tensor
    of_probabilities: Tensor

    def __init__(self, features: int, classes: int, projections: int) -> None:
        super().__init__()
        self.register_buffer("of_features", torch.randn(features, projections))
        self.register_buffer("of_probabilities", torch.randn(classes, projections))

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """See the class."""
        products = (features @ self.of_features) * (probabilities @ self.of_probabilities)
        return products / self.of_features.shape[1] ** 0.5
