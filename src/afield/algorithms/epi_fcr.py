"""Epi-FCR: trains the backbone and the head with partners from other domains."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.objective import Objective


class EpiFCR(Algorithm):
    """The objective on all domains, plus three in which one half of the network has a foreign partner that stays.

    Beside the classifier, one for each domain trains on that domain alone. At each step the images of one domain are
    drawn, and the classifier of another. The features are to be good enough for the head of that one, the head for its
    features; and on all images the features are to be good enough for a head of random weights. No partner learns
    from an episode, and one that gives features does so as it predicts: with its own running statistics.

    For the first `warm_up` of the steps there are no episodes.

    Args:
        classifier: trained in place; of the networks here it is the only one that predicts.
        domain_sizes: a copy of the classifier is kept for each.
        features: lambda_1, factor of the loss of features before a foreign head, 2 in the paper.
        head: lambda_2, factor of the loss of the head behind foreign features, 0.05 in the paper.
        random: lambda_3, factor of the loss of features before the random head, 0.1 in the paper.
        warm_up: share of the steps; a sixth in the authors' code (500 of 3,001).

    Raises:
        ValueError: an option out of bounds.

    References:
        Li et al., "Episodic Training for Domain Generalization", ICCV 2019, equations 1 to 8. Factors are those of
        PACS with ResNet-18. The losses of the classifier are divided by the number of domains, over which the authors'
        code takes sums, so that a rate means the same as for ERM. That code keeps the statistics of batch
        normalization as pretrained; here they train.
    """

    domains_at_least = 2
    needs = "images"
    sampling = "balanced"
    data_parallel = False

    def __init__(
        self,
        classifier: Classifier,
        domain_sizes: Sequence[int],
        *,
        features: float = 2.0,
        head: float = 0.05,
        random: float = 0.1,
        warm_up: float = 1 / 6,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        if not (features >= 0 and head >= 0 and random >= 0):
            raise ValueError(f"features, head and random must be at least 0, got {features!r}, {head!r} and {random!r}")
        if not 0 <= warm_up <= 1:
            raise ValueError(f"warm_up must lie between 0 and 1, got {warm_up!r}")
        self.factors = {"features": features, "head": head, "random": random}
        self.warm_up = warm_up
        self.specific = nn.ModuleList(copy.deepcopy(classifier) for _ in domain_sizes)
        self.random = random_objective(classifier.objective)

    def terms(self, batch: Batch) -> Terms:
        """``objective``, ``specific`` (of the domains' classifiers); then ``features``, ``head`` and ``random`` too."""
        inputs, targets, domains, _, progress = batch[:5]
        classifier, objective = self.classifier, self.classifier.objective
        embedded = classifier.embed(inputs)
        rows = {domain: domains == domain for domain in domains.unique().tolist()}
        specific = [self.specific[domain](inputs[own], targets[own]) for domain, own in rows.items()]
        terms = {"objective": objective(embedded, targets), "specific": torch.stack(specific).sum()}
        if progress < self.warm_up:
            return terms
        domain = list(rows)[int(torch.randint(len(rows), ()))]
        own, foreign = rows[domain], self.foreign(domain)
        behind = classifier.dropout(still_features(foreign, inputs[own]))
        episodes = {
            "features": still_objective(foreign, embedded[own], targets[own]) / len(rows),
            "head": objective(behind, targets[own]) / len(rows),
            "random": self.random(embedded, targets),
        }
        return terms | {name: self.factors[name] * loss for name, loss in episodes.items()}

    def foreign(self, domain: int) -> Classifier:
        """The classifier of another domain, drawn by chance."""
        others = [network for place, network in enumerate(self.specific) if place != domain]
        return cast(Classifier, others[int(torch.randint(len(others), ()))])


@contextmanager
def predicting(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode for as long as the block runs."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def still_features(partner: Classifier, inputs: Tensor) -> Tensor:
    """Inputs -> the features ``[B, D]`` of a partner that does not learn."""
    with predicting(partner), torch.no_grad():
        return partner.features(inputs)


def still_objective(partner: Classifier, embedded: Tensor, targets: Tensor) -> Tensor:
    """Features ``[B, D]``, targets -> the objective of a partner that does not learn from it, a scalar."""
    weights = {name: weight.detach() for name, weight in partner.objective.named_parameters()}
    with predicting(partner):
        return functional_call(partner.objective, weights, (embedded, targets))


def random_objective(objective: Objective) -> Objective:
    """An objective like this one, whose matrices are drawn anew, normal and as wide, and never learn."""
    drawn = copy.deepcopy(objective).requires_grad_(False)
    for parameter in drawn.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=float(parameter.std()))
    return drawn


ALGORITHMS.add(
    "epi_fcr",
    EpiFCR,
    summary="Trains backbone and head with frozen partners from other domains, and with a random head.",
    reference="Li et al., Episodic Training for Domain Generalization, ICCV 2019.",
)
