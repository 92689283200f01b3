"""SelfReg: draws logits and features to those of the same class."""

from collections.abc import Sequence
from typing import Annotated

import torch.nn.functional as F
from torch import nn
from torch.distributions import Beta

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.pairing import same_class_partners
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within

FEATURE_FACTOR = 0.3


@ALGORITHMS.register("selfreg", reference="Kim et al., SelfReg: Self-Supervised Contrastive Regularization, ICCV 2021.")
class SelfReg(Algorithm):
    """Draws logits and features to those of other examples of the same class, without negative pairs.

    Each example has two partners of its class, drawn from all domains. Its logits are drawn towards those of the first
    partner, and towards a mixture of both partners, by squared differences. Its features are drawn towards those of
    the partners after a projection network. The weight of the mixture is drawn from Beta(1/2, 1/2) at each step; it
    also weights the two parts.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the squared differences, in addition to ``min(objective, 1)``; 1 in the paper.

    Raises:
        ValueError: if the penalty is negative.

    References:
        Kim et al., "SelfReg: Self-Supervised Contrastive Regularization for Domain Generalization", ICCV 2021,
        equations 1 to 6, as in DomainBed: without the paper's curriculum and its average of weights (see `SWAD`). In
        DomainBed the optimizer does not update the projection network; here it does.
    """

    sampling = "balanced"
    soft_targets = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, LogUniform(0.1, 10)] = 1.0,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", penalty=penalty)
        self.penalty = penalty
        width = classifier.objective.head.in_features
        self.projection = nn.Sequential(
            *(nn.Linear(width, 2 * width), nn.BatchNorm1d(2 * width), nn.ReLU()),
            *(nn.Linear(2 * width, 2 * width), nn.BatchNorm1d(2 * width), nn.ReLU()),
            *(nn.Linear(2 * width, width), nn.BatchNorm1d(width)),
        )

    def terms(self, batch: Batch) -> Terms:
        """``objective``, ``pair`` (the distance to a partner) and ``mixture`` (that to a mixture of partners)."""
        objective, embedded = self.classifier.objective, self.classifier.embed(batch.inputs)
        loss = objective(embedded, batch.targets)
        logits = objective.logits(embedded)
        seen = ((1.0, logits, logits), (FEATURE_FACTOR, embedded, self.projection(embedded)))
        first, second = same_class_partners(batch.targets), same_class_partners(batch.targets)
        weight = float(Beta(0.5, 0.5).sample())
        pair = sum(factor * F.mse_loss(x, to[first]) for factor, x, to in seen)
        mixture = sum(factor * F.mse_loss(x, to[second].lerp(to[first], weight)) for factor, x, to in seen)
        factor = self.penalty * loss.detach().clamp(max=1.0)
        return {"objective": loss, "pair": factor * weight * pair, "mixture": factor * (1 - weight) * mixture}
