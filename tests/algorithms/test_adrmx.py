"""ADRMX: the contrastive loss, who is remixed with whom, and which network learns from what."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from afield.algorithms import ADRMX, total
from afield.algorithms.parts.contrastive import supervised_contrastive
from afield.algorithms.parts.pairing import partners_of_class_elsewhere
from tests.algorithms.small import DOMAINS, TARGETS, small


def contrastive_longhand(features: Tensor, targets: list[int], temperature: float) -> float:
    """Example by example, pair by pair."""
    rows = features.tolist()
    lengths = [max(0.1, math.sqrt(sum(x * x for x in row))) for row in rows]
    cosine = [[sum(x * y for x, y in zip(a, b, strict=True)) for b in rows] for a in rows]
    losses = []
    for i, own in enumerate(targets):
        scores = [math.exp(cosine[i][j] / lengths[i] / lengths[j] / temperature) for j in range(len(rows))]
        everyone = sum(score for j, score in enumerate(scores) if j != i)
        found = [-math.log(scores[j] / everyone) for j, label in enumerate(targets) if label == own and j != i]
        if found:
            losses.append(sum(found) / len(found))
    return sum(losses) / len(losses) if losses else 0.0


@pytest.mark.parametrize("targets", [[0, 0, 1, 1, 0, 2], [0, 1, 2, 3, 4, 5], [1, 1, 1, 1, 1, 1]])
@pytest.mark.parametrize("scale", [1.0, 0.02])
def test_the_contrastive_loss_by_hand(targets, scale):
    features = scale * torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = supervised_contrastive(features, torch.tensor(targets), 0.3)
    assert float(found) == pytest.approx(contrastive_longhand(features, targets, 0.3), rel=1e-9)


def test_the_gradient_of_the_contrastive_loss_is_exact_and_finite_at_zero():
    targets = torch.tensor([0, 1, 0, 1, 2])
    features = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: supervised_contrastive(x, targets, 0.5), (features,))
    zeros = torch.zeros(5, 3, requires_grad=True)
    supervised_contrastive(zeros, targets, 0.07).backward()
    assert torch.equal(zeros.grad, torch.zeros(5, 3))


def test_the_contrastive_loss_of_one_example_is_zero():
    assert float(supervised_contrastive(torch.ones(1, 3), torch.tensor([0]), 0.07)) == 0


def test_partners_are_of_the_class_and_of_another_domain_and_each_is_drawn_as_often():
    targets, domains = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 1, 2, 0, 0, 1])
    torch.manual_seed(0)
    drawn = [partners_of_class_elsewhere(targets, domains) for _ in range(300)]
    assert all(rows.tolist() == [0, 1, 2] for rows, _ in drawn)  # class 1 is in one domain, class 2 has one example
    partners = torch.stack([partner for _, partner in drawn])
    for row, others in enumerate(([1, 2], [0, 2], [0, 1])):
        values, counts = partners[:, row].unique(return_counts=True)
        assert values.tolist() == others
        assert counts.min() > 110


def test_the_terms_of_adrmx_by_hand():
    algorithm, batch = small("adrmx", contrast=0.5, remix=2.0)
    algorithm.eval()
    with torch.no_grad():
        algorithm.domain_branch.backbone[0].weight.mul_(-0.5)
    torch.manual_seed(3)
    terms = algorithm(batch)
    torch.manual_seed(3)
    rows, partner = partners_of_class_elsewhere(TARGETS, DOMAINS)
    assert len(rows) == 12
    features = algorithm.classifier.features(batch.inputs)
    of_domain = algorithm.domain_branch.features(batch.inputs)
    head, second = algorithm.classifier.objective.head, algorithm.domain_branch.objective.head
    invariant = features - of_domain
    remixed = torch.stack([invariant[i] + of_domain[partner[i]] for i in range(12)])
    expected = {
        "objective": F.cross_entropy(head(features), TARGETS),
        "invariant": F.cross_entropy(second(invariant), TARGETS),
        "domain": F.cross_entropy(algorithm.domain_head(of_domain), DOMAINS),
        "remix": 2 * F.cross_entropy(head(remixed), TARGETS),
        "adversary": F.cross_entropy(algorithm.discriminator(invariant), DOMAINS),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    contrast = sum(contrastive_longhand(each, TARGETS.tolist(), 0.07) for each in (features, invariant))
    assert float(terms["contrast"].detach()) == pytest.approx(0.5 * contrast)
    assert list(terms) == ["objective", "invariant", "domain", "remix", "contrast", "adversary"]


def test_both_networks_hide_the_domain_in_their_difference():
    """The discriminator descends its loss; both networks climb it, in opposite directions of the difference."""
    algorithm, batch = small("adrmx", adversary=0.6)
    algorithm.eval()
    networks = (algorithm.classifier.backbone, algorithm.domain_branch.backbone)
    weights = [weight for network in networks for weight in network.parameters()]
    layers = list(algorithm.discriminator.parameters())
    found = torch.autograd.grad(algorithm(batch)["adversary"], weights + layers)
    features, of_domain = (network(batch.inputs) for network in networks)
    loss = F.cross_entropy(algorithm.discriminator(features - of_domain), DOMAINS)
    plain = torch.autograd.grad(loss, weights + layers)
    factor = -0.6 * (2 / (1 + math.exp(-9)) - 1)
    for a, b in zip(found, [*(factor * each for each in plain[:4]), *plain[4:]], strict=True):
        torch.testing.assert_close(a, b)


def test_the_second_network_starts_as_the_first_with_a_head_of_its_own():
    algorithm, _ = small("adrmx")
    first, second = algorithm.classifier, algorithm.domain_branch
    assert torch.equal(first.backbone[0].weight, second.backbone[0].weight)
    assert first.backbone[0].weight is not second.backbone[0].weight
    assert not torch.equal(first.objective.head.weight, second.objective.head.weight)
    shapes = [tuple(layer.weight.shape) for layer in algorithm.discriminator if isinstance(layer, nn.Linear)]
    assert shapes == [(256, 5), (256, 256), (3, 256)]
    assert tuple(algorithm.domain_head.weight.shape) == (3, 5)


def test_a_batch_without_a_class_in_two_domains_is_not_remixed():
    algorithm, batch = small("adrmx")
    part = batch._replace(inputs=batch.inputs[:3], targets=TARGETS[:3], domains=DOMAINS[:3])
    terms = algorithm(part)
    assert float(terms["remix"]) == float(terms["contrast"].detach()) == 0
    total(terms).backward()


def test_adrmx_needs_a_network_to_train_and_two_domains():
    assert (ADRMX.needs, ADRMX.domains_at_least) == ("layers", 2)
