"""AND-mask: updates only the weights whose gradients have the same sign in all domains."""

from collections.abc import Callable, Sequence
from typing import Annotated

from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.domain_gradients import add_gradient, domain_gradients
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import Uniform
from afield.validation import check_within

TINY = 1e-10


@ALGORITHMS.register(
    "and_mask", reference="Parascandolo et al., Learning Explanations that are Hard to Vary, ICLR 2021."
)
class ANDMask(Algorithm):
    """Updates only the weights whose gradients agree in sign over the domains.

    The gradient of a weight is the mean over domains if the mean of its signs is at least `agreement` in size, else 0.
    The gradients of each weight matrix are divided by the share of its entries that are kept.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        agreement: tau, smallest absolute value of the mean sign; 1 means that all domains agree, as in DomainBed.

    Raises:
        ValueError: if the agreement is outside [0, 1].

    References:
        Parascandolo et al., "Learning Explanations that are Hard to Vary", ICLR 2021, section 3, with the authors'
        division by the share.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self, classifier: Classifier, domain_sizes: Sequence[int], *, agreement: Annotated[float, Uniform(0.5, 1)] = 1.0
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, 1]", agreement=agreement)
        self.agreement = agreement

    def update(self, forward: Callable[[Batch], Terms], batch: Batch, backward: Callable[[Tensor], object]) -> Terms:
        """Add the masked gradients to ``parameter.grad``."""
        terms, gradients = domain_gradients(forward, batch, backward, self.classifier.parameters())
        for weight, found in gradients.items():
            mask = self.mask(found)
            add_gradient(weight, mask * found.mean(dim=0) / (mask.mean() + TINY))
        return terms

    def mask(self, gradients: Tensor) -> Tensor:
        """Gradients of the domains ``[G, ...]`` -> the factor of their mean, ``[...]``."""
        return (gradients.sign().mean(dim=0).abs() >= self.agreement).to(gradients.dtype)
