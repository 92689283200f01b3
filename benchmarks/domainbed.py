"""Do our algorithms take the same steps as those of DomainBed, from the same weights on the same batches?

    python benchmarks/domainbed.py --domainbed FOLDER [--out FILE] [--quick]

FOLDER is a copy of the DomainBed repository, whose code is imported. Both sides have the same small network in float64
(4 inputs, or images of 3 x 4 x 4; 8 features, 3 classes), batches of 8 examples of each domain, hyper-parameters and
random draws. Each algorithm is compared as it is and, if it deviates, once more without the deviations. The differences
are relative: of the loss and its terms, of the gradient, and of the weights after five steps (by the distance that they
moved). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import io
import itertools
import json
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from afield.algorithms import (
    Algorithm,
    Batch,
    adrmx,
    arm,
    causirl,
    domain_dann,
    domain_mixup,
    domain_mmd,
    eqrm,
    mldg,
    mtl,
    rdm,
    selfreg,
    trm,
    urm,
)
from afield.algorithms.eqrm import kernel_quantile
from afield.algorithms.parts.group_means import group_means
from afield.algorithms.trm import solve_by_series
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective
from afield.recipes import RECIPES
from afield.records import write_json
from afield.runs.build import build_algorithm
from afield.runs.provenance import provenance

INPUTS, FEATURES, CLASSES, EACH = 4, 8, 3, 8
IMAGE = (3, 4, 4)
RATE, STEPS = 0.01, 5

Report = Mapping[str, float]
Patch = tuple[Any, str, Any]
Minibatches = list[tuple[Tensor, Tensor]]


def minibatches(domains: int, step: int) -> Minibatches:
    """Inputs ``[8, 4]`` and targets ``[8]`` of each domain."""
    generator = torch.Generator().manual_seed(1000 + step)
    inputs = torch.randn(domains, EACH, INPUTS, generator=generator)
    inputs += torch.arange(domains)[:, None, None] / 2
    return [(x, torch.randn(EACH, CLASSES, generator=generator).argmax(dim=1)) for x in inputs]


def with_equal_halves(domains: int, step: int) -> Minibatches:
    """Like `minibatches`, but examples at even and odd positions are the same."""
    return [(x.repeat_interleave(2, 0), y.repeat_interleave(2)) for x, y in minibatches(domains, step)]


def images(domains: int, step: int) -> Minibatches:
    """Normalized images ``[8, 3, 4, 4]`` and targets ``[8]`` of each domain."""
    generator = torch.Generator().manual_seed(2000 + step)
    parts = minibatches(domains, step)
    return [(torch.randn(EACH, *IMAGE, generator=generator) + x.mean(), y) for x, y in parts]


class Featurizer(nn.Sequential):
    """The network of both sides, ``[B, 4]`` -> ``[B, 8]``, with the attribute that DomainBed reads."""

    n_outputs = FEATURES

    def __init__(self, inputs: int = INPUTS) -> None:
        super().__init__(nn.Linear(inputs, FEATURES), nn.Tanh())


class ImageFeaturizer(Featurizer):
    """The same for images ``[B, 3, 4, 4]``. It adds a fourth channel to the first one."""

    def __init__(self) -> None:
        super().__init__(IMAGE[0] * IMAGE[1] * IMAGE[2])

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if x.shape[1] > IMAGE[0]:
            x = x[:, :3] + F.pad(x[:, 3:], (0, 0, 0, 0, 0, 2))
        return super().forward(x.flatten(1))


class PaddedFeaturizer(Featurizer):
    """`Featurizer`, whose features are followed by as many zeros, ``[B, 4]`` -> ``[B, 16]``."""

    n_outputs = 2 * FEATURES

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.pad(super().forward(x), (0, FEATURES))


@dataclass(frozen=True)
class Setup:
    """The settings of one comparison.

    Attributes:
        options: hyper-parameters of our algorithm.
        hparams: those of DomainBed, in addition to the common ones.
        patches: replaced attributes, for equal random draws, or to remove a deviation.
        factor: their loss and gradient, divided by ours. Both take steps of SGD if it is not 1.
        sgd: whether both take steps of SGD with a factor of 1 as well, otherwise of Adam.
        domains: number of domains.
        batches: makes the minibatches of a step.
        trained: module whose weights our optimizer updates; empty for all.
        joint: whether all gradients of a step of theirs are computed first, and a single optimizer then updates all
            weights, as in ours.
        update: replaces their ``update``, with the arguments of their algorithm and the minibatches.
        averaging: hyper-parameters of our average of the weights.
        progress: fraction of our training that is done before a step; all penalties are at their full factors at 0.99.
    """

    options: dict[str, Any] = field(default_factory=dict)
    hparams: dict[str, Any] = field(default_factory=dict)
    patches: tuple[Patch, ...] = ()
    factor: float = 1.0
    sgd: bool = False
    domains: int = 3
    batches: Callable[[int, int], Minibatches] = minibatches
    trained: str = ""
    joint: bool = False
    update: Callable[[Any, Minibatches], Report] = lambda theirs, parts: theirs.update(parts)
    averaging: dict[str, Any] = field(default_factory=dict)
    progress: Callable[[int], float] = lambda _: 0.99


@dataclass(frozen=True)
class Case:
    """An algorithm that both have.

    Attributes:
        ours: the recipe that has it here.
        theirs: its name in DomainBed.
        same: the comparison of both as they are.
        terms: our terms, sums of them (``first+second``), or ``total``, as functions of what their ``update`` reports.
        aligned: the comparison without the deviations; None if there are none.
        deviations: what differs, as a sentence.
        modules: modules with equal weights, theirs and ours.
        updates: calls of their ``update`` for one step of ours.
        shape: shape of an input.
        network: our network.
        prepare: changes both algorithms, theirs and ours, before the weights of `modules` are copied to theirs.
    """

    ours: str
    theirs: str
    same: Setup = Setup()
    terms: Mapping[str, Callable[[Report], float]] = field(default_factory=lambda: {"total": lambda r: r["loss"]})
    aligned: Setup | None = None
    deviations: str = ""
    modules: tuple[tuple[str, str], ...] = (
        ("featurizer", "classifier.backbone"),
        ("classifier", "classifier.objective.head"),
    )
    updates: int = 1
    shape: tuple[int, ...] = (INPUTS,)
    network: type[Featurizer] = Featurizer
    prepare: Callable[[Any, Algorithm], None] = lambda theirs, ours: None


class OneChannel(nn.Conv2d):
    """A convolution to one channel, which is followed by two channels of zeros."""

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return F.pad(super().forward(x), (0, 0, 0, 0, 0, 2))


class Recorder(torch.optim.Optimizer):
    """An optimizer that moves nothing, and adds the gradients of its steps to `sums`."""

    def __init__(self, params: Any, lr: float, sums: dict[nn.Parameter, Tensor], **_: Any) -> None:
        super().__init__(params, {"lr": lr})
        self.sums = sums
        self.weights = [weight for group in self.param_groups for weight in group["params"]]
        sums |= {weight: torch.zeros_like(weight) for weight in self.weights}

    def step(self, closure: Any = None) -> None:
        """Add the gradients."""
        for weight in self.weights:
            if weight.grad is not None:
                self.sums[weight] += weight.grad


def plain_sgd(params: Any, lr: float, **_: Any) -> torch.optim.Optimizer:
    """SGD in place of another optimizer with the same learning rate."""
    return torch.optim.SGD(params, lr)


@contextmanager
def patched(*patches: Patch) -> Iterator[None]:
    """Replace attributes of objects."""
    with ExitStack() as stack:
        for target, name, value in patches:
            stack.enter_context(mock.patch.object(target, name, value))
        yield


def our_batch(parts: Minibatches, progress: float) -> Batch:
    """The minibatches as a batch."""
    inputs, targets = (torch.cat(each) for each in zip(*parts, strict=True))
    if inputs.ndim == 4:
        inputs = (1 + inputs) / 2  # our classifier normalizes images
    domains = torch.arange(len(parts)).repeat_interleave(len(parts[0][0]))
    return Batch(inputs, targets, domains, torch.arange(len(inputs)), progress)


def make_ours(case: Case, setup: Setup) -> Algorithm:
    """Our algorithm, with random weights that depend on nothing else."""
    torch.manual_seed(0)
    objective = Objective(LinearHead(case.network.n_outputs, CLASSES), {"cross_entropy": 1.0})
    classifier = Classifier(case.network(), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    recipe = replace(RECIPES[case.ours], algorithm_options=setup.options, averaging_options=setup.averaging)
    return build_algorithm(recipe, classifier, [100] * setup.domains, seed=0)


def make_theirs(case: Case, setup: Setup, ours: Algorithm, optimizer: Any) -> Any:
    """DomainBed's algorithm with the weights of ours; `optimizer` takes the place of its Adam."""
    common = {"lr": RATE, "weight_decay": 0.0, "nonlinear_classifier": False, "class_balanced": False}
    with patched((torch.optim, "Adam", optimizer)), redirect_stdout(io.StringIO()):  # URM prints
        make = importlib.import_module("domainbed.algorithms").get_algorithm_class(case.theirs)
        theirs = make(case.shape, CLASSES, setup.domains, common | setup.hparams)
    case.prepare(theirs, ours)
    for weight, other in weight_pairs(case, theirs, ours):
        weight.data.copy_(other.data)
    return theirs


def weight_pairs(case: Case, theirs: Any, ours: Algorithm) -> list[tuple[nn.Parameter, nn.Parameter]]:
    """The weights of both sides that correspond."""
    return [
        pair
        for name, our_name in case.modules
        for pair in zip(theirs.get_submodule(name).parameters(), ours.get_submodule(our_name).parameters(), strict=True)
    ]


def update_theirs(case: Case, setup: Setup, theirs: Any, parts: Minibatches) -> Report:
    """One step of theirs. Optimizers that it creates are SGD."""
    report: dict[str, float] = {}
    with patched((torch.optim, "Adam", plain_sgd)):
        for _ in range(case.updates):
            report |= setup.update(theirs, parts)
    return report


def update_ours(ours: Algorithm, parts: Minibatches, progress: float) -> dict[str, float]:
    """The gradients of one step of ours, and its terms."""
    terms = ours.update(ours, our_batch(parts, progress), Tensor.backward)
    return {name: float(term) for name, term in terms.items()}


def relative(ours: Tensor, theirs: Tensor, scale: Tensor | None = None) -> float:
    """The norm of the difference, divided by that of `scale`, by default `theirs`."""
    return float((ours - theirs).norm() / (theirs if scale is None else scale).norm())


def flat(tensors: list[Tensor]) -> Tensor:
    """All elements in a vector."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def first_step(case: Case, setup: Setup) -> dict[str, Any]:
    """The relative differences of the loss, its terms, and the gradient of the weights that their optimizer has.

    If its steps have no gradients, because they move the weights themselves, the way is the gradient.
    """
    sums: dict[nn.Parameter, Tensor] = {}
    ours = make_ours(case, setup)
    theirs = make_theirs(case, setup, ours, functools.partial(Recorder, sums=sums))
    pairs = [pair for pair in weight_pairs(case, theirs, ours) if pair[0] in sums]
    start = [weight.detach().clone() for weight, _ in pairs]
    parts = setup.batches(setup.domains, 0)
    found, terms = update_theirs(case, setup, theirs, parts), update_ours(ours, parts, setup.progress(0))
    terms["total"] = sum(terms.values())
    losses = {
        name: abs(setup.factor * sum(terms[each] for each in name.split("+")) - expected(found)) / abs(expected(found))
        for name, expected in case.terms.items()
    }
    recorded = flat([sums[weight] for weight, _ in pairs])
    moved = flat([(before - weight) / RATE for before, (weight, _) in zip(start, pairs, strict=True)])
    gradients = flat([torch.zeros_like(ours) if ours.grad is None else ours.grad for _, ours in pairs])
    gradient = relative(setup.factor * gradients, recorded if recorded.any() else moved)
    return {"terms": losses, "gradient": gradient}


def several_steps(case: Case, setup: Setup, steps: int) -> dict[str, Any]:
    """The relative difference of the weights after several steps."""
    sgd = setup.sgd or setup.factor != 1
    make = plain_sgd if sgd else torch.optim.Adam
    sums: dict[nn.Parameter, Tensor] = {}
    ours = make_ours(case, setup)
    theirs = make_theirs(case, setup, ours, functools.partial(Recorder, sums=sums) if setup.joint else make)
    pairs = weight_pairs(case, theirs, ours)
    start = flat([weight for weight, _ in pairs])
    weights = [weight for weight in ours.get_submodule(setup.trained).parameters() if weight.requires_grad]
    optimizer = make(weights, lr=RATE * setup.factor)
    joint = make(list(sums), lr=RATE) if setup.joint else None
    for step in range(steps):
        parts = setup.batches(setup.domains, step)
        update_theirs(case, setup, theirs, parts)
        if joint is not None:
            for weight, gradient in sums.items():
                weight.grad = gradient.clone()
                gradient.zero_()
            joint.step()
        optimizer.zero_grad()
        update_ours(ours, parts, setup.progress(step))
        optimizer.step()
        ours.end_step(step + 1, steps, lambda: float("nan"))
    ends = flat([weight for _, weight in pairs]), flat([weight for weight, _ in pairs])
    return {"weights": relative(*ends, ends[1] - start), "optimizer": "SGD" if sgd else "Adam"}


def compared(case: Case, setup: Setup, steps: int) -> dict[str, Any]:
    """All differences of one comparison."""
    with patched(*setup.patches):
        return first_step(case, setup) | several_steps(case, setup, steps)


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


def penalized(
    name: str, theirs: str, factor: float, objective: str = "loss"
) -> Mapping[str, Callable[[Report], float]]:
    """Their objective and their penalty, which they report without its factor, by our names."""
    return {"objective": lambda r: r[objective], name: lambda r: factor * r[theirs]}


def with_total(name: str, theirs: str, factor: float) -> Mapping[str, Callable[[Report], float]]:
    """The same where they report the sum as the loss."""
    return {"total": lambda r: r["loss"], name: lambda r: factor * r[theirs]}


DIVIDED = "After the annealing, our terms are divided by the factor of the penalty; DomainBed restarts Adam instead."
HALVES = "DomainBed multiplies the slopes of two halves of a batch; here the slope of the whole batch is squared."
KERNELS = "The widths of our kernels follow the mean distance; DomainBed's are fixed, and it adds up their values."
IN_TURN = "DomainBed updates the parts in turn, each at the weights that the others have reached."
FLOAT32 = " It computes the weights of the classes in float32."
REVERSED = "The factor of our reversed gradient rises from 0, and our discriminator has dropout."


def cases() -> list[Case]:
    """All algorithms that both have."""
    seven = fixed_kernels(0.001, 0.01, 0.1, 1, 10, 100, 1000)
    in_order: Patch = (torch, "randperm", torch.arange)
    mixed: tuple[Patch, ...] = (
        in_order,
        (np.random, "beta", lambda *_: 0.3),
        (domain_mixup, "Beta", lambda *_: types.SimpleNamespace(sample=lambda: torch.tensor(0.3))),
        (domain_mixup, "partners_elsewhere", lambda domains: torch.arange(len(domains)).roll(-EACH)),
    )
    their_size, our_size = part_sizes(), part_sizes()
    split: tuple[Patch, ...] = (
        (np.random, "randint", their_size),
        (torch, "randint", lambda *_: torch.tensor(our_size())),
    )
    drawn: tuple[Patch, ...] = (
        (torch, "randperm", shifts()),
        (selfreg, "same_class_partners", shifted_partners()),
        (torch, "sort", functools.partial(torch.sort, stable=True)),
        (np.random, "beta", lambda *_: 0.3),
        (selfreg, "Beta", lambda *_: types.SimpleNamespace(sample=lambda: torch.tensor(0.3))),
    )
    styles: tuple[Patch, ...] = (
        (torch, "randperm", lambda count: torch.arange(count).roll(5)),
        (torch, "rand", lambda count, _: torch.linspace(0.1, 0.9, count)[:, None]),
    )
    last: tuple[Patch, ...] = (in_order, (torch, "randint", lambda high, size: torch.tensor(high - 1)))
    steady: tuple[Patch, ...] = ((domain_dann, "ramp", lambda progress: 1.0), (nn, "Dropout", lambda *_: nn.Identity()))
    remixed: tuple[Patch, ...] = (
        *steady[1:],
        (adrmx, "ramp", lambda progress: 1.0),
        (adrmx, "supervised_contrastive", contrastive_with_constants),
        (torch, "randperm", shifts()),
        (adrmx, "partners_of_class_elsewhere", remixed_in_turn()),
    )
    signed: tuple[Patch, ...] = (
        (torch, "rand", signed_for_ours),
        (urm, "magnitudes", lambda features: features),
        (importlib.import_module("domainbed.algorithms").URM, "_modify_generator_output", lambda _: None),
    )
    embedded: tuple[Patch, ...] = (
        (Tensor, "normal_", kept_with_graph(Tensor.normal_)),
        (mtl, "centered", lambda embeddings: embeddings),
    )
    averaged = Setup(
        {"head": 0.4},
        {"lars": False, "linear_lr": RATE, "linear_steps": 1, "freeze_bn": True},
        averaging={"start": 0.4},
        progress=lambda step: step / STEPS,
    )
    adversarial = {"lambda": 1.0, "lr_d": RATE, "lr_g": RATE, "weight_decay_d": 0.0, "weight_decay_g": 0.0}
    adversarial |= {"beta1": 0.5, "grad_penalty": 0.0, "d_steps_per_g_step": 1}
    adversarial |= {"mlp_width": 16, "mlp_depth": 3, "mlp_dropout": 0.0}
    irm = {"irm_lambda": 100.0, "irm_penalty_anneal_iters": -1}
    bottleneck = {"ib_lambda": 100.0, "ib_penalty_anneal_iters": -1}
    contrastive = {"lmbda": 0.1, "temperature": 0.1, "is_project": False, "is_normalized": False, "is_flipped": True}
    nearby = {"t_lambda": 0.5, "delta": 0.1, "d_steps_per_g": 10, "lr_d": 0.1, "gda": False}
    near = {"penalty": 0.5, "radius": 0.1, "steps": 10, "rate": 0.1}
    transferred = {"iters": 0, "cos_lambda": 1.0, "groupdro_eta": 0.01}
    uniformed = {"urm_adv_lambda": 0.1, "urm_discriminator_lr": RATE, "urm_discriminator_optimizer": "adam"}
    uniformed |= {"urm_generator_output": "tanh", "urm_discriminator_label_smoothing": 0}
    uniformed |= {"urm_discriminator_hidden_layers": 1}
    disentangled = adversarial | {"cnt_lambda": 1.0, "dclf_lambda": 1.0, "rmxd_lambda": 1.0, "disc_lambda": 0.75}
    matched = {"rdm_lambda": 5.0, "rdm_penalty_anneal_iters": -1, "rdm_lr": RATE}
    networks = (("network.net.0", "classifier.backbone"), ("network.net.1", "classifier.objective.head"))
    gaussian = {"options": {"penalty": 1.0}, "hparams": {"mmd_gamma": 1.0}}
    return [
        Case("erm", "ERM"),
        Case(
            "erm_plus_plus",
            "ERMPlusPlus",
            averaged,
            aligned=replace(averaged, sgd=True),
            deviations="DomainBed trains the head with an optimizer of its own, in one step more than it is set to (in "
            "the same number of steps in this comparison), and averages from the step before the set one (from the "
            "same one). The running statistics of its averaged network follow the batches; ours are averaged like the "
            "weights (the network has none).",
            modules=(
                ("network.0", "algorithm.classifier.backbone"),
                ("network.1", "algorithm.classifier.objective.head"),
                ("network_sma.0", "average.backbone"),
                ("network_sma.1", "average.objective.head"),
            ),
            prepare=average_from_third_step,
        ),
        Case(
            "irm",
            "IRM",
            Setup({"penalty": 100.0}, irm),
            penalized("irm", "penalty", 100.0, "nll"),
            Setup({"penalty": 100.0}, irm, factor=100.0, batches=with_equal_halves),
            f"{DIVIDED} {HALVES}",
        ),
        Case(
            "vrex",
            "VREx",
            Setup({"penalty": 10.0}, {"vrex_lambda": 10.0, "vrex_penalty_anneal_iters": -1}),
            with_total("vrex", "penalty", 10.0),
            Setup({"penalty": 10.0}, {"vrex_lambda": 10.0, "vrex_penalty_anneal_iters": -1}, factor=10.0),
            DIVIDED,
        ),
        Case("groupdro", "GroupDRO", Setup({"rate": 0.01}, {"groupdro_eta": 0.01})),
        Case(
            "domain_mixup",
            "Mixup",
            Setup({"alpha": 0.2}, {"mixup_alpha": 0.2}, mixed),
            deviations="The draws of DomainBed are for pairs of whole domains. They are equal in this comparison.",
        ),
        Case(
            "mldg",
            "MLDG",
            Setup({"inner_rate": RATE}, {"mldg_beta": 1.0, "n_meta_test": 1}, last),
            aligned=Setup(
                {"inner_rate": RATE},
                {"mldg_beta": 1.0, "n_meta_test": 1},
                (*last, (mldg, "inner_step", first_order_step)),
                factor=0.5,
                domains=2,
            ),
            deviations="DomainBed leaves out second derivatives, takes the inner step with Adam (with SGD in this "
            "comparison) and on each of the other domains alone, and divides by the number of domains.",
        ),
        Case("coral", "CORAL", Setup({"penalty": 1.0}, {"mmd_gamma": 1.0}), penalized("coral", "penalty", 1.0)),
        Case(
            "domain_mmd",
            "MMD",
            Setup(**gaussian),
            penalized("mmd", "penalty", 1.0),
            Setup(**gaussian, patches=((domain_mmd, "multi_kernel_mmd", seven),)),
            KERNELS,
        ),
        *(
            Case(
                ours,
                theirs,
                Setup({"adversary": 1.0, "hidden": 16}, adversarial),
                {"objective": lambda r: r["gen_loss"] + r["disc_loss"], "domain": lambda r: r["disc_loss"]},
                Setup({"adversary": 1.0, "hidden": 16}, adversarial, steady, joint=True),
                f"{REVERSED} {IN_TURN}{more}",
                (*Case.modules, ("discriminator", "discriminator"), *embeddings),
                updates=2,
            )
            for ours, theirs, embeddings, more in (
                ("domain_dann", "DANN", (), ""),
                ("cdann", "CDANN", (("class_embeddings", "class_embedding"),), FLOAT32),
            )
        ),
        Case(
            "sagnet",
            "SagNet",
            Setup({"adversary": 0.1}, {"sag_w_adv": 0.1}, styles),
            {"objective": lambda r: r["loss_c"], "style": lambda r: r["loss_s"], "adversary": lambda r: r["loss_adv"]},
            Setup({"adversary": 0.1}, {"sag_w_adv": 0.1}, styles, joint=True),
            f"{IN_TURN} It draws another partner for the adversary.",
            modules=(
                ("network_f", "classifier.backbone"),
                ("network_c", "classifier.objective.head"),
                ("network_s", "style.head"),
            ),
        ),
        Case("rsc", "RSC", Setup(hparams={"rsc_f_drop_factor": 1 / 3, "rsc_b_drop_factor": 1 / 3})),
        Case(
            "fish",
            "Fish",
            Setup({"inner_rate": RATE}, {"meta_lr": 0.5}, (in_order,)),
            {},
            Setup({"inner_rate": RATE}, {"meta_lr": 0.5}, (in_order,), factor=1.5),
            "DomainBed moves the weights by a fraction of the distance that is covered on the domains, whose steps are "
            "those of Adam (of SGD in this comparison); here the optimizer uses the distance as a gradient.",
            networks,
        ),
        Case("sd", "SD", Setup({"penalty": 0.1}, {"sd_reg": 0.1}), penalized("sd", "penalty", 0.1)),
        Case(
            "and_mask",
            "ANDMask",
            Setup({"agreement": 1.0}, {"tau": 1.0}),
            deviations="DomainBed computes the share of the mask in float32.",
        ),
        Case("sand_mask", "SANDMask", Setup({"agreement": 0.5, "steepness": 10.0}, {"tau": 0.5, "k": 10.0})),
        Case("iga", "IGA", Setup({"penalty": 0.01}, {"penalty": 0.01}), penalized("iga", "penalty", 0.01)),
        Case(
            "selfreg",
            "SelfReg",
            Setup(patches=drawn),
            aligned=Setup(patches=drawn, trained="classifier"),
            deviations="In DomainBed the optimizer does not update the projection, which keeps its random weights.",
            modules=(*Case.modules, ("cdpl", "projection")),
        ),
        Case(
            "fishr",
            "Fishr",
            Setup({"penalty": 1000.0}, {"lambda": 1000.0, "penalty_anneal_iters": 0, "ema": 0.95}),
            penalized("fishr", "penalty", 1000.0, "nll"),
            Setup({"penalty": 1000.0}, {"lambda": 1000.0, "penalty_anneal_iters": 0, "ema": 0.95}, factor=1000.0),
            DIVIDED,
        ),
        Case(
            "ib_erm",
            "IB_ERM",
            Setup({"penalty": 100.0}, bottleneck),
            with_total("bottleneck", "IB_penalty", 100.0),
            Setup({"penalty": 100.0}, bottleneck, factor=100.0),
            DIVIDED,
        ),
        Case(
            "ib_irm",
            "IB_IRM",
            Setup({"penalty": 100.0, "bottleneck": 100.0}, irm | bottleneck),
            with_total("bottleneck", "IB_penalty", 100.0),
            Setup({"penalty": 100.0, "bottleneck": 100.0}, irm | bottleneck, factor=100.0, batches=with_equal_halves),
            f"{DIVIDED} {HALVES}",
        ),
        *(
            Case(
                ours,
                theirs,
                Setup({"penalty": 0.1, "temperature": 0.1}, contrastive),
                penalized("bottleneck", "bn_loss", 0.1, "clf_loss"),
            )
            for ours, theirs in (("cad", "CAD"), ("cond_cad", "CondCAD"))
        ),
        Case(
            "causirl_coral",
            "CausIRL_CORAL",
            Setup({"penalty": 1.0}, {"mmd_gamma": 1.0}, split),
            penalized("distance", "penalty", 1.0),
        ),
        Case(
            "causirl_mmd",
            "CausIRL_MMD",
            Setup(**gaussian, patches=split),
            penalized("distance", "penalty", 1.0),
            Setup(**gaussian, patches=(*split, (causirl, "multi_kernel_mmd", seven))),
            KERNELS,
        ),
        Case(
            "eqrm",
            "EQRM",
            Setup({"quantile": 0.75}, {"eqrm_quantile": 0.75, "eqrm_burnin_iters": -1, "eqrm_lr": RATE}),
            aligned=Setup(
                {"quantile": 0.75},
                {"eqrm_quantile": 0.75, "eqrm_burnin_iters": -1, "eqrm_lr": RATE},
                ((eqrm, "kernel_quantile", quantile_by_ends),),
            ),
            deviations="DomainBed differentiates the ends of its bisection in place of the quantile.",
        ),
        Case(
            "rdm",
            "RDM",
            Setup({"penalty": 5.0}, matched | {"variance_weight": 0.004}),
            {"total": lambda r: r["total_loss"]},
            Setup(
                {"penalty": 5.0},
                matched | {"variance_weight": 0.0},
                ((rdm, "multi_kernel_mmd", fixed_kernels(0.0001, 0.001, 0.01, 0.1, 1, 10, 100, 1000)),),
                factor=5.0,
            ),
            f"{KERNELS} {DIVIDED} DomainBed also penalizes the variance of the losses.",
        ),
        Case(
            "arm",
            "ARM",
            Setup(hparams={"batch_size": EACH}, batches=images),
            aligned=Setup(
                hparams={"batch_size": EACH},
                patches=((arm, "group_means", with_mean),),
                batches=images,
                trained="classifier",
            ),
            deviations="Here, the mean context of the batch is subtracted. In DomainBed the optimizer does not update "
            "the context network, which keeps its random weights, and the context is a further channel of the image "
            "(one of the three channels has a context in this comparison).",
            modules=(*Case.modules, ("context_net.context_net", "context")),
            shape=IMAGE,
            network=ImageFeaturizer,
            prepare=one_channel,
        ),
        Case(
            "mtl",
            "MTL",
            Setup({"decay": 0.01}, {"mtl_ema": 0.99}),
            aligned=Setup({"decay": 0.01}, {"mtl_ema": 0.99}, embedded, factor=3.0),
            deviations="DomainBed replaces the embedding by random numbers, and adds up the losses of the domains. "
            "Here, the mean embedding is subtracted, and a trained matrix adds the embedding to the features (fixed in "
            "this comparison, so that the head sees both as in DomainBed).",
            network=PaddedFeaturizer,
            prepare=concatenated,
        ),
        Case(
            "trm",
            "TRM",
            Setup({"implicit": 1.0, "rate": 0.01}, transferred),
            {"objective": lambda r: r["nll"], "transfer+implicit": lambda r: r["trm_loss"]},
            Setup(
                {"implicit": 1.0, "rate": 0.0},
                transferred | {"groupdro_eta": 0.0},
                ((trm, "solve_by_series", series_of_weights),),
            ),
            "DomainBed's Hessian is that of the weights without the biases, and the second term of its series takes "
            "the place of the first one. It changes the weights of the domains before the gradient, by weighted risks "
            "(without the deviations, these weights are fixed). Its predictors start at random weights (at the head in "
            "this comparison).",
            prepare=predictors_at_head,
        ),
        Case(
            "transfer",
            "Transfer",
            Setup(near, nearby),
            {"objective": lambda r: r["loss"], "gap": lambda r: r["gap"]},
            Setup(near | {"rate": 0.05}, nearby, joint=True, update=ascent_first),
            "DomainBed uses the result of the ascent in the next step, its optimizer takes one step for the objective "
            "and one for the gap, and the rate of its ascent is multiplied by the factor of the gap.",
            prepare=adversary_at_head,
        ),
        Case(
            "adrmx",
            "ADRMX",
            Setup({"adversary": 0.75, "hidden": 16}, disentangled),
            {
                "objective": lambda r: r["loss_clf_int"],
                "invariant": lambda r: r["loss_clf_fin"],
                "domain": lambda r: r["loss_dmn"],
                "remix": lambda r: r["loss_remixed"],
                "contrast": lambda r: r["loss_cnt_int"] + r["loss_cnt_final"],
                "adversary": lambda r: r["loss_disc"],
            },
            Setup({"adversary": 0.75, "hidden": 16}, disentangled, remixed, joint=True),
            f"{REVERSED} {IN_TURN} It remixes one pair of examples for each class, of any class and domain, and has "
            "constants in the contrastive loss. Its heads have hidden layers, and its discriminator has more of them "
            "(as many as ours in this comparison).",
            (
                ("featurizer_label", "classifier.backbone"),
                ("classifier_label_1", "classifier.objective.head"),
                ("featurizer_domain", "domain_branch.backbone"),
                ("classifier_label_2", "domain_branch.objective.head"),
                ("classifier_domain", "domain_head"),
                ("discriminator", "discriminator"),
            ),
            updates=2,
            prepare=other_branch,
        ),
        Case(
            "urm",
            "URM",
            Setup({"adversary": 0.1}, uniformed, ((torch, "rand", uniform),)),
            {"objective+uniform": lambda r: r["loss"]},
            Setup({"adversary": 0.1}, uniformed, signed),
            "In DomainBed the features pass through tanh before the head and the discriminator, and the noise is in "
            "[-1, 1); here, only the discriminator receives tanh of their magnitudes, and the noise is in [0, 1).",
            (*Case.modules, ("discriminator", "discriminator")),
        ),
    ]


def gradients_of_examples(fishr: Any, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """In place of the package backpack: the gradient of the head for each example, ``[B, ...]``, by autograd."""
    weights = dict(fishr.classifier.named_parameters())
    losses = nn.functional.cross_entropy(logits, targets, reduction="none")
    rows = [torch.autograd.grad(loss, list(weights.values()), create_graph=True) for loss in losses]
    return {name: torch.stack(found).flatten(1) for name, found in zip(weights, zip(*rows, strict=True), strict=True)}


def commit(folder: Path) -> str | None:
    """The commit of a Git checkout; None if the folder is not one."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if (folder / ".git").exists() and not done.returncode else None


def load(folder: Path) -> dict[str, Any]:
    """Import DomainBed, replace its network, and return what identifies the copy."""
    file = folder / "domainbed" / "algorithms.py"
    if not file.exists():
        sys.stderr.write(f"error: there is no copy of DomainBed in {folder}: it has no file domainbed/algorithms.py\n")
        raise SystemExit(2)
    sys.path.insert(0, str(folder))
    for name in [name for name in sys.modules if name.split(".")[0] == "domainbed"]:
        del sys.modules[name]
    sys.modules["backpack"] = types.SimpleNamespace(backpack=None, extend=lambda module: module)  # type: ignore
    sys.modules["backpack.extensions"] = types.SimpleNamespace(BatchGrad=None)  # type: ignore
    networks = importlib.import_module("domainbed.networks")
    networks.Featurizer = lambda shape, *_: Featurizer() if len(shape) == 1 else ImageFeaturizer()
    networks.Classifier = lambda inputs, outputs, is_nonlinear=False: nn.Linear(inputs, outputs)
    networks.MNIST_CNN = Featurizer  # URM accepts only networks of DomainBed
    algorithms = importlib.import_module("domainbed.algorithms")
    algorithms.backpack = True
    algorithms.Fishr._get_grads = gradients_of_examples
    content = file.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return {"commit": commit(folder), "blob of algorithms.py": blob}


def main() -> None:
    """Compare, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domainbed", type=Path, required=True, help="copy of the DomainBed repository")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    parser.add_argument("--algorithms", nargs="+", help="ours, by name; all by default")
    parser.add_argument("--quick", action="store_true", help="one step instead of five")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    copy = load(args.domainbed)
    if not torch.cuda.is_available():  # RDM and TRM move tensors to the graphics card
        Tensor.cuda = nn.Module.cuda = lambda self, *_: self
    rows = {}
    print(f"{'algorithm':16}{'in DomainBed':15}{'':9}{'loss':>9}{'gradient':>10}{'weights':>9}")
    for case in cases():
        if args.algorithms and case.ours not in args.algorithms:
            continue
        found = {
            name: compared(case, setup, 1 if args.quick else STEPS)
            for name, setup in (("same", case.same), ("aligned", case.aligned))
            if setup is not None
        }
        rows[case.ours] = {"theirs": case.theirs, **found, "deviations": case.deviations}
        for name, row in found.items():
            loss = max(row["terms"].values(), default=float("nan"))
            print(f"{case.ours:16}{case.theirs:15}{name:9}{loss:9.0e}{row['gradient']:10.0e}{row['weights']:9.0e}")
    result = {"benchmark": "domainbed", "domainbed": copy, "steps": STEPS, "rows": rows}
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
