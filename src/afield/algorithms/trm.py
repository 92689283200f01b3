"""TRM: features for which the best predictor of each domain is good in the other domains."""

import copy
from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.func import functional_call

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.distributions import LogUniform
from afield.validation import check_within

INNER_RATE, INNER_STEPS = 0.1, 30
"""Learning rate and number of the gradient steps of each domain's predictor."""

SERIES_TERMS, LARGEST = 10, 10.0
"""Terms of the Neumann series after the first one, and the largest element of its sum."""

Weights = dict[str, Tensor]


@ALGORITHMS.register(
    "trm", reference="Xu and Jaakkola, Learning Representations that Support Robust Transfer of Predictors, 2021."
)
class TRM(Algorithm):
    """Learns features for which the predictor of each domain transfers to the other domains.

    Each domain has a predictor, a copy of the head, which takes 30 steps of gradient descent on the domain's examples
    in each batch. The transfer risk of a domain is the risk of its predictor in the other domains, weighted as in
    `GroupDRO`. The loss is the objective plus the mean transfer risk. Its gradient for the features has two parts:
    that at fixed predictors, and that through the predictors, which depend on the features. The second part is
    computed by implicit differentiation, with ten terms of a Neumann series for the inverse Hessian.

    The transfer risk starts after the first `warmup` fraction of the steps.

    Args:
        classifier: model to train, in place. The predictors are used in training only.
        domain_sizes: number of training examples in each domain.
        implicit: factor of the gradient through the predictors; 1 is the exact gradient, 1e-4 in DomainBed.
        warmup: fraction of the steps without the transfer risk; 0.04 in DomainBed (200 of 5,000).
        rate: step size of the weights of the domains, 0.01 in DomainBed.

    Raises:
        ValueError: if an option is out of range.

    References:
        Xu and Jaakkola, "Learning Representations that Support Robust Transfer of Predictors", 2021, with the numbers
        of DomainBed. The series ends before an element exceeds 10; in DomainBed, after it. The Hessian includes the
        biases; in DomainBed, it has the weights only. The code there changes the first term of the series in place, so
        that it counts as the second one; the gradient of the risks has the weights of the domains after their update;
        and that update uses risks that are multiplied by their weights. Here, the update is that of `GroupDRO`, after
        the step. The predictors start at the head; in DomainBed, each starts at random weights of its own.
    """

    domains_at_least = 2
    needs = "layers"
    sampling = "balanced"
    data_parallel = False
    shares: Tensor
    """Weight of the risk of each domain's predictor in each domain, ``[E, E]``; rows of sum 1, 0 on the diagonal."""

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        implicit: Annotated[float, LogUniform(1e-5, 1)] = 1e-4,
        warmup: Annotated[float, LogUniform(2e-4, 1)] = 0.04,
        rate: Annotated[float, LogUniform(1e-3, 0.1)] = 0.01,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", implicit=implicit, rate=rate)
        check_within("[0, 1]", warmup=warmup)
        self.implicit, self.warmup, self.rate = implicit, warmup, rate
        count = len(domain_sizes)
        self.predictors = nn.ModuleList(copy.deepcopy(classifier.objective) for _ in range(count)).requires_grad_(False)
        self.register_buffer("shares", (1 - torch.eye(count)) / max(count - 1, 1))

    def terms(self, batch: Batch) -> Terms:
        """``objective``; after the warm-up also ``transfer`` and ``implicit``, of which only the gradient matters."""
        embedded = self.classifier.embed(batch.inputs)
        terms = {"objective": self.classifier.objective(embedded, batch.targets)}
        parts = {
            domain: (embedded[batch.domains == domain], batch.targets[batch.domains == domain])
            for domain in batch.domains.unique().tolist()
        }
        if batch.progress < self.warmup or len(parts) == 1:
            return terms
        transfers, implicits = zip(*(self.transfer(domain, parts) for domain in parts), strict=True)
        return terms | {
            "transfer": torch.stack(transfers).mean(),
            "implicit": self.implicit * torch.stack(implicits).mean(),
        }

    def transfer(self, domain: int, parts: dict[int, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The transfer risk of a domain, and a scalar whose gradient is that through the domain's predictor.

        Args:
            domain: index of the domain.
            parts: features ``[B_d, D]`` and targets of each domain in the batch.
        """
        predictor, (features, targets) = self.predictors[domain], parts[domain]
        weights = fit(predictor, features.detach(), targets)
        slopes = torch.autograd.grad(
            functional_call(predictor, weights, (features, targets)), list(weights.values()), create_graph=True
        )
        others = [other for other in parts if other != domain]
        risks = torch.stack([functional_call(predictor, weights, parts[other]) for other in others])
        shares = self.shares[domain, others]
        risk = shares / shares.sum() @ risks
        direction = torch.autograd.grad(risk, list(weights.values()), retain_graph=True)
        solution = solve_by_series(slopes, list(weights.values()), direction)
        with torch.no_grad():
            self.shares[domain, others] *= (self.rate * risks).exp()
            self.shares[domain] /= self.shares[domain].sum()
        return risk, -dot(slopes, solution)


def fit(predictor: nn.Module, features: Tensor, targets: Tensor) -> Weights:
    """Continue the gradient descent of a predictor, in place, and return its weights as new leaves of the graph."""
    parameters = dict(predictor.named_parameters())
    for _ in range(INNER_STEPS):
        weights = {name: weight.detach().requires_grad_() for name, weight in parameters.items()}
        slopes = torch.autograd.grad(functional_call(predictor, weights, (features, targets)), list(weights.values()))
        with torch.no_grad():
            for parameter, slope in zip(parameters.values(), slopes, strict=True):
                parameter.sub_(slope, alpha=INNER_RATE)
    return {name: weight.detach().clone().requires_grad_() for name, weight in parameters.items()}


def solve_by_series(slopes: Sequence[Tensor], weights: Sequence[Tensor], direction: Sequence[Tensor]) -> list[Tensor]:
    """The product of the inverse Hessian and a direction, by the Neumann series ``sum of (I - H)^k v``.

    Args:
        slopes: gradient with respect to the weights of the function whose Hessian is H, with its graph.
        weights: the weights.
        direction: v, tensors of the shapes of the weights.

    Returns:
        Tensors of the shapes of the weights.
    """
    term = total = list(direction)
    for _ in range(SERIES_TERMS):
        products = torch.autograd.grad(slopes, weights, grad_outputs=term, retain_graph=True)
        term = [old - product for old, product in zip(term, products, strict=True)]
        longer = [old + new for old, new in zip(total, term, strict=True)]
        if max(float(tensor.abs().max()) for tensor in longer) > LARGEST:
            break
        total = longer
    return total


def dot(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """The inner product of two lists of tensors of the same shapes, a scalar."""
    return torch.stack([(a * b).sum() for a, b in zip(first, second, strict=True)]).sum()
