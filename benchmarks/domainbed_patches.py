"""What is replaced in our algorithms and in those of DomainBed: equal random draws, and no deviations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from domainbed_steps import FEATURES, Featurizer, Minibatches, Report
from torch import Tensor, nn
from torch.distributions import Normal

from afield.algorithms import Algorithm
from afield.algorithms.eqrm import kernel_quantile
from afield.algorithms.parts.group_means import group_means
from afield.algorithms.trm import solve_by_series


class OneChannel(nn.Conv2d):
    """A convolution to one channel, which is followed by two channels of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.pad(super().forward(x), (0, 0, 0, 0, 0, 2))


def fixed_kernels(*rates: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The squared maximum mean discrepancy of DomainBed: a sum of ``exp(-rate |a - b|^2)``."""

    def kernel(first: Tensor, second: Tensor) -> Tensor:
        squares = (first[:, None] - second).square().sum(dim=2)
        return torch.stack([(-rate * squares).exp() for rate in rates]).sum(dim=0).mean()

    return lambda x, y: kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)


def quantile_by_ends(values: Tensor, quantile: float) -> Tensor:
    """`kernel_quantile` as a point at a constant share of the way between the two ends of DomainBed's bisection."""
    bandwidth = 1.06 * len(values) ** -0.2 * values.std()
    low, high = (Normal(end, bandwidth).icdf(torch.tensor(quantile)) for end in (values.min(), values.max()))
    share = ((kernel_quantile(values, quantile) - low) / (high - low)).detach()
    return low + share * (high - low)


def first_order_step(parameters: Mapping[str, Tensor], loss: Tensor, rate: float) -> dict[str, Tensor]:
    """`inner_step` without second derivatives."""
    slopes = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True)
    return {name: old - rate * slope for (name, old), slope in zip(parameters.items(), slopes, strict=True)}


def shifts() -> Callable[[int], Tensor]:
    """In place of random permutations: rotations by one and by two in turn."""
    by = itertools.cycle((-1, -2))
    return lambda count: torch.arange(count).roll(next(by))


def shifted_partners() -> Callable[[Tensor], Tensor]:
    """In place of random partners of the same class: the next ones, and those after them, in turn."""
    by = itertools.cycle((-1, -2))

    def partners(targets: Tensor) -> Tensor:
        found, shift = torch.empty_like(targets), next(by)
        for label in targets.unique():
            rows = (targets == label).nonzero().squeeze(1)
            found[rows] = rows.roll(shift)
        return found

    return partners


def part_sizes() -> Callable[..., int]:
    """In place of random sizes of the first part of each domain: 2, 5, and 3."""
    sizes = itertools.cycle((2, 5, 3))
    return lambda *_: next(sizes)


def uniform(shape: torch.Size, **_: Any) -> Tensor:
    """In place of random numbers in [0, 1)."""
    return (0.618 * torch.arange(shape.numel()) % 1).view(shape)


def signed_for_ours(shape: torch.Size, **theirs: Any) -> Tensor:
    """`uniform` for DomainBed, which maps it to [-1, 1); for ours, which names no options, mapped in this way."""
    return uniform(shape) if theirs else 2 * uniform(shape) - 1


def kept_with_graph(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`Tensor.normal_`, but results of a computation keep their values."""
    return lambda self, *args, **options: self if self.grad_fn is not None else draw(self, *args, **options)


def with_mean(values: Tensor, groups: Tensor) -> Tensor:
    """`group_means` plus the mean of all examples, which ARM subtracts."""
    return group_means(values, groups) + values.mean(dim=0)


def series_of_weights(slopes: list[Tensor], weights: list[Tensor], direction: list[Tensor]) -> list[Tensor]:
    """`solve_by_series` of the matrix of a linear head alone, with the second term in place of the first one."""
    first = slopes[:1], weights[:1], direction[:1]
    (product,) = torch.autograd.grad(slopes[:1], weights[:1], grad_outputs=direction[:1], retain_graph=True)
    return [solve_by_series(*first)[0] - product, torch.zeros_like(weights[1])]


def contrastive_with_constants(features: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """`supervised_contrastive` with the constants of DomainBed in the logarithm and in the number of examples."""
    unit = F.normalize(features)
    others = ~torch.eye(len(features), dtype=torch.bool)
    similar = (unit @ unit.T / temperature).exp().where(others, 0)
    positives = (targets[:, None] == targets) & others
    logs = (similar / (similar.sum(dim=1, keepdim=True) + 2e-5) + 1e-5).log().where(positives, 0)
    rows = positives.any(dim=1)
    return -(logs.sum(dim=1)[rows] / positives.sum(dim=1)[rows]).sum() / (rows.sum() + 1)


def remixed_in_turn() -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """In place of partners: the pairs of rows that DomainBed takes for each class if permutations are `shifts`."""
    by = itertools.cycle((1, 2))

    def pairs(targets: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        rows = torch.tensor([next(by) for _ in targets.unique()])
        return rows, rows + 1

    return pairs


def copy_weights(target: nn.Module, source: nn.Module) -> None:
    """Copy all parameters."""
    for weight, other in zip(target.parameters(), source.parameters(), strict=True):
        weight.data.copy_(other.data)


def adversary_at_head(theirs: Any, ours: Algorithm) -> None:
    """`Transfer`: the adversary starts at the head."""
    copy_weights(theirs.adv_classifier, ours.classifier.objective.head)


def ascent_first(theirs: Any, parts: Minibatches) -> Report:
    """`Transfer` with the ascent from the current head, and then the step."""
    copy_weights(theirs.adv_classifier, theirs.classifier)
    theirs.update_count.fill_(1)
    return [theirs.update_second(parts) for _ in range(theirs.d_steps_per_g + 1)][-1]


def predictors_at_head(theirs: Any, ours: Any) -> None:
    """`TRM`: the predictors of the domains start at the head."""
    for theirs_of_domain, ours_of_domain in zip(theirs.clist, ours.predictors, strict=False):
        copy_weights(theirs_of_domain, ours_of_domain)


def average_from_third_step(theirs: Any, ours: Algorithm) -> None:
    """`ERMPlusPlus`: the average starts at the weights after the third step. It has the start of 600 in its code."""
    theirs.sma_start_iter = 4


def one_channel(theirs: Any, ours: Any) -> None:
    """`ARM`: the context has a single channel."""
    ours.context[6] = OneChannel(64, 1, 5, padding=2)


def concatenated(theirs: Any, ours: Any) -> None:
    """`MTL`: the context is in the places of the zeros of `PaddedFeaturizer`, and its matrix is fixed."""
    ours.context.weight = nn.Parameter(F.pad(torch.eye(FEATURES), (0, FEATURES, FEATURES, 0)), requires_grad=False)


def other_branch(theirs: Any, ours: Any) -> None:
    """`ADRMX`: the second network starts at weights of its own; the difference would otherwise be 0."""
    ours.domain_branch.backbone = Featurizer()
