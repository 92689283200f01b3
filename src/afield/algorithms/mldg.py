"""MLDG: minimizes the loss on a held-out domain after a gradient step on the others."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch.func import functional_call

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.inner_step import inner_step
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within


@ALGORITHMS.register(
    "mldg", reference="Li et al., Learning to Generalize: Meta-Learning for Domain Generalization, AAAI 2018."
)
class MLDG(Algorithm):
    """Minimizes the loss on a held-out domain after a gradient step on the others (second derivatives).

    The loss is ``F(theta) + beta * G(theta - inner_rate * F'(theta))``, where ``G`` is the objective on a held-out
    (meta-test) domain, drawn at each step, and ``F`` is the objective on the other (meta-train) domains. Its gradient
    contains second derivatives.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        beta: factor of the meta-test loss, 1 in the paper.
        inner_rate: alpha, learning rate of the gradient step. The paper uses the rate of its optimizer, 5e-4. A larger
            rate looks further ahead.

    Raises:
        ValueError: if beta or the rate is negative.

    References:
        Li et al., "Learning to Generalize: Meta-Learning for Domain Generalization", AAAI 2018, algorithm 1. DomainBed
        leaves out the second derivatives, takes a separate step of Adam on each meta-train domain, and divides the
        gradient by the number of domains.
    """

    domains_at_least = 2
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        beta: Annotated[float, LogUniform(0.1, 10)] = 1.0,
        inner_rate: float = 5e-4,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", beta=beta, inner_rate=inner_rate)
        self.beta, self.inner_rate = beta, inner_rate

    def terms(self, batch: Batch) -> Terms:
        """``meta_train`` and ``meta_test``; only ``objective`` if the batch contains a single domain."""
        domains = batch.domains.unique()
        if len(domains) == 1:
            return super().terms(batch)
        held = batch.domains == domains[int(torch.randint(len(domains), ()))]
        parameters = {name: p for name, p in self.classifier.named_parameters() if p.requires_grad}
        meta_train = self.classifier(batch.inputs[~held], batch.targets[~held])
        moved = inner_step(parameters, meta_train, self.inner_rate)
        meta_test = functional_call(self.classifier, moved, (batch.inputs[held], batch.targets[held]))
        return {"meta_train": meta_train, "meta_test": self.beta * meta_test}
