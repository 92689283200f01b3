"""Epi-FCR: trains the backbone and the head with partners from other domains."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from afield.algorithms.algorithm import Algorithm, Batch, Terms
from afield.algorithms.parts.random_objective import random_objective
from afield.algorithms.registry import ALGORITHMS
from afield.classifier import Classifier
from afield.validation import check_within


@ALGORITHMS.register("epi_fcr", reference="Li et al., Episodic Training for Domain Generalization, ICCV 2019.")
class EpiFCR(Algorithm):
    """Trains backbone and head with frozen partners from other domains, and with a random head.

    In addition to the classifier, one partner network per domain trains on that domain only. Each step draws one
    domain and the partner of another domain, and adds three episodic losses to the objective:

    * ``features``: features of the backbone on images of the domain, classified by the head of the partner,
    * ``head``: features of the partner on images of the domain, classified by the head of the classifier,
    * ``random``: features of the backbone on all images, classified by a head with random weights.

    Partners and the random head receive no gradient from these losses. A partner computes features in evaluation
    mode, with its own running statistics. The episodic losses start after the first `warm_up` fraction of the steps.

    Args:
        classifier: model to train, in place. The partners are used during training only.
        domain_sizes: one partner, a copy of the classifier, is created for each domain.
        features: lambda_1, factor of the ``features`` loss, 2 in the paper.
        head: lambda_2, factor of the ``head`` loss, 0.05 in the paper.
        random: lambda_3, factor of the ``random`` loss, 0.1 in the paper.
        warm_up: fraction of the steps without episodic losses; one sixth in the authors' code (500 of 3,001).

    Raises:
        ValueError: if an option is out of range.

    References:
        Li et al., "Episodic Training for Domain Generalization", ICCV 2019, equations 1 to 8. The factors are those
        for PACS with ResNet-18. The authors' code sums the losses of the classifier over domains. Here they are
        averaged, so that a learning rate has the same effect as for ERM. The authors' code freezes the pretrained
        statistics of batch normalization; here they are updated.
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
        features: float = 2.0,
        head: float = 0.05,
        random: float = 0.1,
        warm_up: float = 1 / 6,
    ) -> None:
        super().__init__(classifier, domain_sizes)
        check_within("[0, inf)", features=features, head=head, random=random)
        check_within("[0, 1]", warm_up=warm_up)
        self.factors = {"features": features, "head": head, "random": random}
        self.warm_up = warm_up
        self.specific = nn.ModuleList(copy.deepcopy(classifier) for _ in domain_sizes)
        self.random = random_objective(classifier.objective).requires_grad_(False)

    def terms(self, batch: Batch) -> Terms:
        """``objective`` and ``specific`` (the partners); after the warm-up also ``features``, ``head``, ``random``."""
        inputs, targets, domains, _, progress = batch[:5]
        classifier, objective = self.classifier, self.classifier.objective
        embedded = classifier.embed(inputs)
        rows = {domain: domains == domain for domain in domains.unique().tolist()}
        specific = [self.specific[domain](inputs[own], targets[own]) for domain, own in rows.items()]
        terms = {"objective": objective(embedded, targets), "specific": torch.stack(specific).sum()}
        if progress < self.warm_up:
            return terms
        domain = list(rows)[int(torch.randint(len(rows), ()))]
        own, partner = rows[domain], self.partner(domain)
        partner_features = classifier.dropout(frozen_features(partner, inputs[own]))
        episodes = {
            "features": frozen_objective(partner, embedded[own], targets[own]) / len(rows),
            "head": objective(partner_features, targets[own]) / len(rows),
            "random": self.random(embedded, targets),
        }
        return terms | {name: self.factors[name] * loss for name, loss in episodes.items()}

    def partner(self, domain: int) -> Classifier:
        """The partner network of another domain, drawn at random."""
        others = [network for index, network in enumerate(self.specific) if index != domain]
        return cast(Classifier, others[int(torch.randint(len(others), ()))])


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Context manager that sets a module to evaluation mode and restores its mode at exit."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def frozen_features(partner: Classifier, inputs: Tensor) -> Tensor:
    """Inputs -> features ``[B, D]`` of the partner, without gradients."""
    with evaluation_mode(partner), torch.no_grad():
        return partner.features(inputs)


def frozen_objective(partner: Classifier, embedded: Tensor, targets: Tensor) -> Tensor:
    """Features ``[B, D]``, targets -> objective of the partner, a scalar; only the features receive gradients."""
    weights = {name: weight.detach() for name, weight in partner.objective.named_parameters()}
    with evaluation_mode(partner):
        return functional_call(partner.objective, weights, (embedded, targets))
