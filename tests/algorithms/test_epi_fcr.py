"""Epi-FCR: who learns from which episode, and what each is."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms import Batch, EpiFCR
from afield.algorithms.epi_fcr import frozen_features, frozen_objective
from afield.algorithms.parts.random_objective import random_objective
from afield.classifier import Classifier
from afield.heads import ArcFaceHead, LinearHead, Neck
from afield.objective import Objective

DOMAINS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
TARGETS = torch.tensor([0, 1, 2, 0, 2, 1, 1, 0, 2, 2, 1, 0])
EPISODES = ("features", "head", "random")


def make(kind=LinearHead, **options) -> EpiFCR:
    """The networks of the domains are given weights of their own, as they have after some steps."""
    torch.manual_seed(0)
    objective = Objective(kind(5, 3), {"cross_entropy": 1.0})
    backbone = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh())
    classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0)
    algorithm = EpiFCR(classifier, [4, 4, 4], **options).double().train()
    for place, network in enumerate(algorithm.specific):
        network.backbone[1].running_mean.fill_(0.1 * (place + 1))
        for parameter in network.parameters():
            nn.init.normal_(parameter)
    return algorithm


def make_batch(progress=0.5) -> Batch:
    inputs = torch.randn(12, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return Batch(inputs, TARGETS, DOMAINS, torch.arange(12), progress)


def draws(seed: int) -> tuple[int, int]:
    """Whose images, and whose partner, the seed stands for."""
    torch.manual_seed(seed)
    own = int(torch.randint(3, ()))
    others = [place for place in range(3) if place != own]
    return own, others[int(torch.randint(2, ()))]


def learning(algorithm: EpiFCR, term: torch.Tensor) -> set[str]:
    """The parts, as ``classifier.backbone`` or ``specific.1``, that have a gradient of the term."""
    algorithm.zero_grad()
    term.backward()
    named = [(name, parameter.grad) for name, parameter in algorithm.named_parameters()]
    return {".".join(name.split(".")[:2]) for name, gradient in named if gradient is not None and gradient.any()}


@pytest.mark.parametrize("kind", [LinearHead, ArcFaceHead])
def test_each_part_learns_from_its_own_losses_and_from_no_other(kind):
    algorithm, batch = make(kind), make_batch()
    own = {"classifier.backbone", "classifier.objective"}
    expected = {
        "objective": own,
        "specific": {"specific.0", "specific.1", "specific.2"},
        "features": {"classifier.backbone"},
        "head": {"classifier.objective"},
        "random": {"classifier.backbone"},
    }
    for name, parts in expected.items():
        assert learning(algorithm, algorithm(batch)[name]) == parts, name
    found = algorithm(batch)
    assert learning(algorithm, sum(found[name] for name in EPISODES)) == own


def test_each_domain_trains_its_own_network_on_its_own_images_alone():
    algorithm, batch = make(), make_batch()
    networks = copy.deepcopy(algorithm.specific)
    terms = algorithm(batch)
    risks = [networks[d](batch.inputs[d == DOMAINS], TARGETS[d == DOMAINS]) for d in range(3)]
    torch.testing.assert_close(terms["specific"], sum(risks))
    terms["specific"].backward()
    for place, (network, risk) in enumerate(zip(networks, risks, strict=True)):
        risk.backward()
        for old, new in zip(network.parameters(), algorithm.specific[place].parameters(), strict=True):
            torch.testing.assert_close(old.grad, new.grad)


@pytest.mark.parametrize("seed", range(4))
def test_the_episodes_by_hand(seed):
    algorithm, batch = make(features=2.0, head=0.3, random=0.5), make_batch()
    own, other = draws(seed)
    rows = own == DOMAINS
    torch.manual_seed(seed)
    terms = algorithm(batch)
    classifier, partner = algorithm.classifier, algorithm.specific[other]
    features = classifier.features(batch.inputs)
    torch.testing.assert_close(terms["objective"], F.cross_entropy(classifier.objective.head(features), TARGETS))
    foreign_head = F.cross_entropy(partner.objective.head(features[rows]), TARGETS[rows])
    torch.testing.assert_close(terms["features"], 2.0 * foreign_head / 3)
    foreign_features = copy.deepcopy(partner).eval().features(batch.inputs[rows])
    own_head = F.cross_entropy(classifier.objective.head(foreign_features), TARGETS[rows])
    torch.testing.assert_close(terms["head"], 0.3 * own_head / 3)
    torch.testing.assert_close(terms["random"], 0.5 * F.cross_entropy(algorithm.random.head(features), TARGETS))


def test_every_pair_of_domains_is_drawn():
    assert {draws(seed) for seed in range(60)} == {(i, j) for i in range(3) for j in range(3) if i != j}


def test_a_partner_gives_features_with_its_own_statistics_and_keeps_them():
    algorithm, batch = make(), make_batch()
    partner = algorithm.specific[1]
    before = copy.deepcopy(partner.state_dict())
    found = frozen_features(partner, batch.inputs)
    with torch.no_grad():
        linear = batch.inputs @ partner.backbone[0].weight.T + partner.backbone[0].bias
        norm = partner.backbone[1]
        scaled = (linear - 0.2) / (1 + norm.eps) ** 0.5 * norm.weight + norm.bias
    torch.testing.assert_close(found, scaled.tanh())
    assert not found.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in partner.state_dict().items())
    assert partner.training


def test_a_partner_s_head_keeps_its_state_too():
    torch.manual_seed(0)
    objective = Objective(ArcFaceHead(5, 3, margin_warmup=3), {"cross_entropy": 1.0}, neck=Neck(5))
    classifier = Classifier(nn.Identity(), objective, mean=(0.5,) * 3, std=(0.5,) * 3, dropout=0.0).train()
    before = copy.deepcopy(classifier.state_dict())
    features = torch.randn(4, 5, requires_grad=True)
    frozen_objective(classifier, features, torch.tensor([0, 1, 2, 0])).backward()
    assert features.grad.any()
    assert all(parameter.grad is None for parameter in classifier.parameters())
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_without_the_warm_up_s_end_there_are_no_episodes():
    algorithm = make(warm_up=0.25)
    assert list(algorithm(make_batch(progress=0.24))) == ["objective", "specific"]
    assert list(algorithm(make_batch(progress=0.25))) == ["objective", "specific", *EPISODES]


def test_the_random_head_is_one_of_its_own_and_never_learns():
    torch.manual_seed(0)
    objective = Objective(LinearHead(200, 50), {"cross_entropy": 1.0})
    drawn = random_objective(objective)
    old, new = objective.head.weight.detach(), drawn.head.weight.detach()
    assert abs(float((old * new).mean() / (old.std() * new.std()))) < 0.05
    assert float(new.std()) == pytest.approx(float(old.std()), rel=0.05)
    assert all(parameter.requires_grad for parameter in objective.parameters())
    algorithm = make()
    assert not any(parameter.requires_grad for parameter in algorithm.random.parameters())
    assert {name for name, p in algorithm.named_parameters() if not p.requires_grad} == {
        "random.head.weight",
        "random.head.bias",
    }
    assert {"random.head.weight", "random.head.bias"} <= algorithm.state_dict().keys()


def test_a_domain_that_is_not_in_the_batch_lends_its_network_and_does_not_train():
    algorithm = make()
    batch = make_batch()._replace(domains=torch.zeros(12, dtype=torch.int64))
    for seed in range(5):
        torch.manual_seed(seed)
        terms = algorithm(batch)
        assert learning(algorithm, terms["features"]) == {"classifier.backbone"}
    assert learning(algorithm, terms["specific"]) == {"specific.0"}


@pytest.mark.parametrize("options", [{"features": -1.0}, {"head": -1.0}, {"random": -0.1}, {"warm_up": 1.1}])
def test_options_out_of_bounds_are_errors_that_say_what_they_got(options):
    with pytest.raises(ValueError, match="got"):
        make(**options)
