"""The gradients of one step for each domain."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from afield.algorithms.algorithm import Batch, Terms, total


def of_domain(batch: Batch, domain: Tensor) -> Batch:
    """The examples of one domain, without those of the new place."""
    rows = batch.domains == domain
    inputs, targets, domains, indices = (values[rows] for values in batch[:4])
    return Batch(inputs, targets, domains, indices, batch.progress)


def domain_gradients(
    forward: Callable[[Batch], Terms],
    batch: Batch,
    backward: Callable[[Tensor], object],
    parameters: Iterable[nn.Parameter],
) -> tuple[Terms, dict[nn.Parameter, Tensor]]:
    """Compute the gradients of each domain of a batch on its own.

    Args:
        forward: as in `Algorithm.update`.
        batch: examples of G domains.
        backward: as in `Algorithm.update`.
        parameters: weights. Their ``grad`` does not change.

    Returns:
        The mean of the terms over domains, and the gradients ``[G, ...]`` of each weight that received some.
    """
    domains, weights = batch.domains.unique(), list(parameters)
    before = take_gradients(weights)
    means: Terms = {}
    found: dict[nn.Parameter, list[Tensor]] = {}
    for domain in domains:
        terms = forward(of_domain(batch, domain))
        backward(total(terms))
        means = {name: means.get(name, 0.0) + term.detach() / len(domains) for name, term in terms.items()}
        for weight, gradient in zip(weights, take_gradients(weights), strict=True):
            if gradient is not None:
                found.setdefault(weight, []).append(gradient)
    for weight, gradient in zip(weights, before, strict=True):
        weight.grad = gradient
    return means, {weight: torch.stack(gradients) for weight, gradients in found.items()}


def take_gradients(weights: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradients and remove them from the weights."""
    found = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    return found


def add_gradient(weight: nn.Parameter, gradient: Tensor) -> None:
    """Add to ``weight.grad``, as ``backward`` does."""
    weight.grad = gradient if weight.grad is None else weight.grad + gradient
