"""One step and several steps of an algorithm of ours and of the one of DomainBed, from the same weights."""

from __future__ import annotations

import functools
import importlib
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms import Algorithm, Batch
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective
from afield.recipes import RECIPES
from afield.runs.build import build_algorithm

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
