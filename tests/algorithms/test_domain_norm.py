"""Features standardized by domain while a network trains."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from afield.algorithms import DANN, ERM, Batch
from afield.algorithms.parts.domain_norm import EPS, DomainFeatureNorm, name_domains
from afield.classifier import Classifier, FeatureNorm
from afield.errors import InputError
from afield.heads import LinearHead
from afield.objective import Objective

DOMAINS = torch.tensor([0, 1, 0, 1, 1, 0])


def features(rows: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def made(domains: torch.Tensor | None = DOMAINS) -> DomainFeatureNorm:
    norm = DomainFeatureNorm(3).double().train()
    norm.domains = domains
    return norm


def test_each_domain_comes_out_as_batch_normalization_of_its_rows_makes_it():
    x, norm = features(), made()
    found, plain = norm(x), nn.BatchNorm1d(3, eps=EPS, affine=False).double()
    for domain in (0, 1):
        torch.testing.assert_close(found[domain == DOMAINS], plain(x[domain == DOMAINS]))
    assert torch.autograd.gradcheck(made(), x.requires_grad_())


def test_rows_behind_the_batch_are_a_domain_of_their_own():
    x, norm = features(10), made()
    found = norm(x)
    torch.testing.assert_close(found[:6], made()(x[:6]))
    torch.testing.assert_close(found[6:].mean(dim=0), torch.zeros(3).double(), atol=1e-12, rtol=0)
    with pytest.raises(InputError, match="only with --freeze"):
        norm(x[:5])


def test_in_evaluation_it_has_running_statistics_of_all_rows_and_those_that_are_put_in():
    x, norm = 5 + 2 * features(), made()
    norm(x)
    torch.testing.assert_close(norm.mean, 0.1 * x.mean(dim=0))
    torch.testing.assert_close(norm.std, 0.9 + 0.1 * (x.var(dim=0, correction=0) + EPS).sqrt())
    norm.eval()
    torch.testing.assert_close(norm(x[:2]), (x[:2] - norm.mean) / norm.std)
    plain = FeatureNorm(3).double()
    plain.load_state_dict(norm.state_dict())
    torch.testing.assert_close(plain(x), norm(x))


@pytest.mark.parametrize("kind", [ERM, DANN])
def test_an_algorithm_tells_the_norm_the_domains_of_its_batches(kind):
    torch.manual_seed(0)
    norm = DomainFeatureNorm(3)
    objective = Objective(LinearHead(3, 2), {"cross_entropy": 1.0})
    classifier = Classifier(
        nn.Identity(), objective, mean=(0.0,) * 3, std=(1.0,) * 3, dropout=0.0, feature_norm=norm
    ).double()
    algorithm = kind(classifier, [3, 3]).double().train()
    name_domains(algorithm, norm)
    x = features()
    algorithm(Batch(x, torch.arange(6) % 2, DOMAINS, torch.arange(6), 0.5, 3 + features(seed=1)))
    assert torch.equal(norm.domains, DOMAINS)
    torch.testing.assert_close(classifier.features(x), made()(x))
