"""Statistics of features: worked out by hand, and there and back through named tensors."""

from __future__ import annotations

import pytest
import torch

from afield.adaptation import FeatureStatistics, SourceStatistics, shrink


def test_statistics_are_the_biased_ones():
    found = FeatureStatistics.of(torch.tensor([[1.0, 0.0], [3.0, 6.0], [5.0, 0.0]]))
    assert found.mean.tolist() == [3, 2]
    assert found.variance.tolist() == pytest.approx([8 / 3, 8])
    assert found.count == 3


def test_pooled_statistics_are_those_of_all_examples():
    features = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    parts = [FeatureStatistics.of(part) for part in (features[:2], features[2:5], features[5:])]
    found, whole = FeatureStatistics.pooled(parts), FeatureStatistics.of(features)
    torch.testing.assert_close(found.mean, whole.mean)
    torch.testing.assert_close(found.variance, whole.variance)
    assert found.count == 9


def test_shrinkage_by_hand():
    target = FeatureStatistics(torch.tensor([4.0]), torch.tensor([1.0]), 20)
    source = FeatureStatistics(torch.tensor([1.0]), torch.tensor([3.0]), 1000)
    found = shrink(target, source, 10)  # (20 * 4 + 10 * 1) / 30 and (20 * 1 + 10 * 3) / 30
    assert found.mean.item() == pytest.approx(3)
    assert found.variance.item() == pytest.approx(5 / 3)
    assert shrink(target, source, 0).mean.item() == 4
    assert shrink(target, source, 1e9).mean.item() == pytest.approx(1, abs=1e-5)


def test_a_feature_that_never_changes_has_a_deviation_to_divide_by():
    assert FeatureStatistics.of(torch.full((3, 1), 7.0)).std.item() == pytest.approx(1e-3)


def test_source_statistics_by_domain_and_their_way_through_tensors():
    features = torch.tensor([[0.0], [2.0], [10.0], [11.0], [12.0]])
    labels, domains = torch.tensor([0, 2, 2, 2, 0]), torch.tensor([0, 0, 2, 2, 2])
    source = SourceStatistics.of(features, labels, domains, ("day", "dusk", "night"), 3)
    assert {name: domain.mean.item() for name, domain in source.domains.items()} == {"day": 1, "night": 11}
    assert source.priors.tolist() == pytest.approx([0.4, 0, 0.6])
    assert source.pooled.mean.item() == pytest.approx(7)
    back = SourceStatistics.from_tensors(source.tensors())
    assert [*back.domains] == ["day", "night"]
    assert back.domains["night"].count == 3
    assert back.domains["night"].variance.item() == pytest.approx(2 / 3)
    assert torch.equal(back.priors, source.priors)
