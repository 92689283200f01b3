"""Fishr: penalizes differences between the domains' gradient variances."""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.annealing import Annealed, penalized
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform, Uniform
from afield.validation import check_within


@ALGORITHMS.register(
    "fishr", reference="Rame et al., Fishr: Invariant Gradient Variances for Out-of-Distribution Generalization, 2022."
)
class Fishr(Algorithm):
    """Penalizes differences between the domains' variances of the head's gradients.

    The gradient of the cross-entropy of one example with respect to a linear head is ``(p - y) [x, 1]``, with
    probabilities p, the target y and features x. Its variance over the examples of a domain is followed by a moving
    average. The penalty is the squared distance between a domain's variance and the mean over domains, averaged over
    weights and domains. Other heads than the linear one use the same expression with their own probabilities.

    The penalty is off during the first `anneal` fraction of the steps. Afterwards, if `penalty` exceeds 1, the sum is
    divided by it; DomainBed restarts its optimizer instead.

    Args:
        classifier: model to train, in place.
        domain_sizes: number of training examples in each domain.
        penalty: lambda, 1,000 in the paper.
        anneal: fraction of the steps before the penalty applies; 0.3 in the paper (1,500 of 5,000).
        decay: decay of the moving average per step, 0.95 in the paper.

    Raises:
        ValueError: if an option is out of range.

    References:
        Rame et al., "Fishr: Invariant Gradient Variances for Out-of-Distribution Generalization", ICML 2022,
        equations 3 to 5 and section 4, for the weights of the head.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False
    variances: Tensor
    """Moving average of each domain's variance, ``[E, K, D + 1]``."""

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, LogUniform(10, 10_000)] = 1000.0,
        anneal: Annotated[float, Uniform(0, 1)] = 0.3,
        decay: Annotated[float, Uniform(0.9, 0.99)] = 0.95,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, 1)", decay=decay)
        self.penalty, self.decay = Annealed(penalty, anneal, before=0.0), decay
        shape = len(domain_sizes), classifier.num_classes, classifier.objective.head.in_features + 1
        self.register_buffer("variances", torch.zeros(shape))

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``fishr``."""
        objective, embedded = self.classifier.objective, self.classifier.embed(batch.inputs)
        targets = batch.targets if batch.targets.ndim == 2 else F.one_hot(batch.targets, self.classifier.num_classes)
        errors = objective.logits(embedded).softmax(dim=1) - targets
        domains = batch.domains.unique()
        found = torch.stack(
            [gradient_variance(errors[batch.domains == d], embedded[batch.domains == d]) for d in domains]
        )
        followed = self.variances[domains].lerp(found.to(self.variances.dtype), 1 - self.decay)
        self.variances[domains] = followed.detach()
        # The division restores the magnitude of the gradient, which flows through the newest variance alone.
        distance = (followed - followed.mean(dim=0)).square().mean() / (1 - self.decay) ** 2
        return penalized(objective(embedded, batch.targets), batch.progress, fishr=(self.penalty, distance))


def gradient_variance(errors: Tensor, features: Tensor) -> Tensor:
    """The variance of the gradients of a linear head over the examples of one domain.

    Args:
        errors: probabilities minus targets, ``[B, K]``.
        features: ``[B, D]``.

    Returns:
        The variance for each weight and, in the last column, the bias, ``[K, D + 1]``.
    """
    inputs = F.pad(features, (0, 1), value=1.0)
    mean = errors.T @ inputs / len(inputs)
    return errors.square().T @ inputs.square() / len(inputs) - mean.square()
