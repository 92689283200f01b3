"""CAD and conditional CAD: each example resembles examples of other domains more than those of its own."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import Choice
from afield.validation import check_within

BASE_TEMPERATURE = 0.07
REFERENCE = "Ruan et al., Optimal Representations for Covariate Shift, ICLR 2022."


@ALGORITHMS.register("cad", reference=REFERENCE)
class CAD(Algorithm):
    """Makes the nearest features in a batch come from other domains (contrastive bottleneck).

    A softmax over the scaled inner products of an example's features with those of all other examples in the batch is
    the probability of being its neighbor. The penalty is minus the logarithm of the probability that the neighbor is
    of another domain, averaged over the examples that have another example of their class in the batch.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the penalty, 0.1 in DomainBed.
        temperature: divisor of the inner products, 0.1 in DomainBed. The penalty is multiplied by temperature / 0.07.
        normalized: whether features are scaled to length 1 first; not in DomainBed by default.

    Raises:
        ValueError: if the penalty is negative, or the temperature is not positive.

    References:
        Ruan et al., "Optimal Representations for Covariate Shift", ICLR 2022, equation 8, in DomainBed's default
        form: without projection, and with ``-log(1 - p)`` in place of ``log p`` of the own domain.
    """

    domains_at_least = 2
    needs = "layers"
    sampling = "balanced"
    soft_targets = False
    conditional: ClassVar[bool] = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, Choice((1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0))] = 0.1,
        temperature: Annotated[float, Choice((0.05, 0.1))] = 0.1,
        normalized: bool = False,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", penalty=penalty)
        check_within("(0, inf)", temperature=temperature)
        self.penalty, self.temperature, self.normalized = penalty, temperature, normalized

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``bottleneck``."""
        features = self.classifier.features(batch.inputs)
        objective = self.classifier.objective(self.classifier.dropout(features), batch.targets)
        compared = F.normalize(features) if self.normalized else features
        losses = neighbor_losses(compared / self.temperature**0.5, batch, self.conditional)
        mean = losses.mean() if len(losses) else features.new_zeros(())
        return {"objective": objective, "bottleneck": self.penalty * self.temperature / BASE_TEMPERATURE * mean}


@ALGORITHMS.register("cond_cad", reference=REFERENCE)
class CondCAD(CAD):
    """Makes the nearest features of the same class come from other domains (contrastive).

    Like `CAD`, but the neighbors are examples of the same class. The average is over examples with an example of their
    class in another domain.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: factor of the penalty, 0.1 in DomainBed.
        temperature: divisor of the inner products, 0.1 in DomainBed. The penalty is multiplied by temperature / 0.07.
        normalized: whether features are scaled to length 1 first; not in DomainBed by default.

    Raises:
        ValueError: if the penalty is negative, or the temperature is not positive.

    References:
        Ruan et al., "Optimal Representations for Covariate Shift", ICLR 2022, appendix, the conditional bottleneck.
    """

    conditional = True


def neighbor_losses(features: Tensor, batch: Batch, conditional: bool) -> Tensor:
    """Minus the logarithm of the probability that the neighbor of an example is of another domain.

    Args:
        features: ``[B, D]``; their inner products are the logits.
        batch: classes and domains of the examples.
        conditional: whether the neighbors are only those of the same class.

    Returns:
        The losses of the examples for which both are possible: a neighbor in another domain and one of the same class.
    """
    others = ~torch.eye(len(features), dtype=torch.bool, device=features.device)
    same_class = (batch.targets[:, None] == batch.targets) & others
    elsewhere = batch.domains[:, None] != batch.domains
    candidates = same_class if conditional else others
    logits = (features @ features.T).masked_fill(~candidates, -torch.inf)
    rows = same_class.any(dim=1) & (elsewhere & candidates).any(dim=1)
    logits, elsewhere = logits[rows], elsewhere[rows]
    return logits.logsumexp(dim=1) - logits.masked_fill(~elsewhere, -torch.inf).logsumexp(dim=1)
