"""Fish: takes a gradient step on one domain after the other, which aligns the domains' gradients."""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import Tensor

from afield.algorithms.algorithm import Algorithm, Batch, Terms, total
from afield.algorithms.parts.domain_gradients import add_gradient, of_domain, take_gradients
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


@ALGORITHMS.register("fish", reference="Shi et al., Gradient Matching for Domain Generalization, ICLR 2022.")
class Fish(Algorithm):
    """Follows gradient steps on one domain after the other, which align the gradients.

    Starting at the current weights, one plain gradient step is taken on each domain in turn, in random order. The
    gradient of the step is the distance covered, divided by `inner_rate` and the number of domains. To the second
    order in `inner_rate` it is that of the mean risk minus the inner products between the gradients of the domains.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        inner_rate: learning rate of the steps, alpha in the paper.

    Raises:
        ValueError: if the rate is not positive.

    References:
        Shi et al., "Gradient Matching for Domain Generalization", ICLR 2022, algorithm 1. There, the weights move by a
        fraction of the distance and the steps on the domains are those of Adam; here the optimizer of the training
        uses the distance as a gradient.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        inner_rate: Annotated[float, LogUniform(0.001, 0.1)] = 0.01,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("(0, inf)", inner_rate=inner_rate)
        self.inner_rate = inner_rate

    def update(self, forward: Callable[[Batch], Terms], batch: Batch, backward: Callable[[Tensor], object]) -> Terms:
        """Add the distance covered to ``parameter.grad``."""
        weights = [weight for weight in self.classifier.parameters() if weight.requires_grad]
        start, before = [weight.detach().clone() for weight in weights], take_gradients(weights)
        domains = batch.domains.unique()
        means: Terms = {}
        for domain in domains[torch.randperm(len(domains)).to(domains.device)]:
            terms = forward(of_domain(batch, domain))
            backward(total(terms))
            means = {name: means.get(name, 0.0) + term.detach() / len(domains) for name, term in terms.items()}
            with torch.no_grad():
                for weight, gradient in zip(weights, take_gradients(weights), strict=True):
                    if gradient is not None:
                        weight.sub_(gradient, alpha=self.inner_rate)
        with torch.no_grad():
            for weight, value, gradient in zip(weights, start, before, strict=True):
                covered = value - weight
                weight.copy_(value)
                weight.grad = gradient
                add_gradient(weight, covered / (self.inner_rate * len(domains)))
        return means
