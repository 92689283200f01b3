"""Transfer: features for which no head near the classifier's separates the risks of the domains."""

import copy
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import Choice, LogUniform, Uniform
from afield.objective import Objective
from afield.validation import check_number, check_within


@ALGORITHMS.register(
    "transfer",
    reference="Zhang et al., Quantifying and Improving Transferability in Domain Generalization, NeurIPS 2021.",
)
class Transfer(Algorithm):
    """Makes the risks of the domains similar, also for a nearby head that makes them most different.

    The gap of a head is the highest risk of a domain minus the lowest. In each step, a copy of the classifier's head
    takes `steps` steps of gradient ascent on the gap. After each of them, it is projected to the ball of the given
    radius around the classifier's head. The loss is the objective plus `penalty` times the gap of the copy. The gap
    trains the backbone only.

    Args:
        classifier: model to train, in place.
        domain_sizes: not used.
        penalty: lambda, 1 in DomainBed.
        radius: delta, largest distance between the weights of the copy and those of the head, 2 in DomainBed.
        steps: steps of gradient ascent, 10 in DomainBed.
        rate: learning rate of the ascent, 0.001 in DomainBed.

    Raises:
        InputError: if an option is out of range.

    References:
        Zhang et al., "Quantifying and Improving Transferability in Domain Generalization", NeurIPS 2021, algorithm 1.
        The ascent starts at the current head, and its result is used in the same step. In DomainBed, the result is used
        in the next step, the optimizer takes one step for the objective and one for the gap, and the rate of the ascent
        is multiplied by the penalty.
    """

    domains_at_least = 2
    needs = "layers"
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        penalty: Annotated[float, LogUniform(0.01, 10)] = 1.0,
        radius: Annotated[float, Uniform(0.1, 3)] = 2.0,
        steps: Annotated[int, Choice((1, 2, 5))] = 10,
        rate: Annotated[float, LogUniform(3e-5, 3e-3)] = 1e-3,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", penalty=penalty, rate=rate)
        check_within("(0, inf)", radius=radius)
        check_number("steps", steps, 1, 1000, whole=True)
        self.penalty, self.radius, self.steps, self.rate = penalty, radius, steps, rate

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``gap``."""
        embedded = self.classifier.embed(batch.inputs)
        adversary = self.adversary(embedded.detach(), batch)
        return {
            "objective": self.classifier.objective(embedded, batch.targets),
            "gap": self.penalty * risk_gap(adversary, embedded, batch),
        }

    def adversary(self, embedded: Tensor, batch: Batch) -> Objective:
        """A copy of the objective, without gradients, after the ascent on features ``[B, D]``."""
        adversary = copy.deepcopy(self.classifier.objective)
        weights = list(adversary.parameters())
        for _ in range(self.steps):
            slopes = torch.autograd.grad(risk_gap(adversary, embedded, batch), weights)
            with torch.no_grad():
                for weight, slope in zip(weights, slopes, strict=True):
                    weight.add_(slope, alpha=self.rate)
            project(adversary, self.classifier.objective, self.radius)
        return adversary.requires_grad_(False)


def risk_gap(objective: Objective, embedded: Tensor, batch: Batch) -> Tensor:
    """The highest minus the lowest risk of the domains, a scalar, from features ``[B, D]`` of the batch."""
    domains, groups = batch.domains.unique(return_inverse=True)
    risks = objective.risks(embedded, batch.targets, groups, len(domains))
    return risks.max() - risks.min()


@torch.no_grad()
def project(module: nn.Module, center: nn.Module, radius: float) -> None:
    """Move the weights of a module to the nearest ones within a Euclidean distance of those of another, in place."""
    pairs = list(zip(module.parameters(), center.parameters(), strict=True))
    distance = torch.stack([(weight - middle).square().sum() for weight, middle in pairs]).sum().sqrt()
    for weight, middle in pairs:
        weight.copy_(middle.lerp(weight, (radius / distance).clamp(max=1.0)))
