"""Selection by name: near duplicates, seeds, bad input, k-means, sizes."""

from __future__ import annotations

import pytest
import torch

from afield.errors import InputError
from afield.labeling import STRATEGIES, Pool, select
from afield.labeling.distances import squared_norms, to_nearest
from afield.labeling.kmeans import drawn, kmeans
from afield.labeling.select import typical_distance


@pytest.fixture
def doubled() -> Pool:
    """Twenty images, each three times with a little noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(20, 8, generator=generator).repeat(3, 1)
    logits = torch.randn(20, 4, generator=generator).repeat(3, 1)
    return Pool(
        images + 0.01 * torch.randn(60, 8, generator=generator),
        logits,
        draws=logits.expand(2, -1, -1),
        predicted_losses=logits[:, 0],
    )


@pytest.mark.parametrize("strategy", STRATEGIES.names)
def test_a_batch_has_no_near_duplicates_unless_it_may(doubled, strategy):
    found = select(doubled, 12, strategy)
    assert len((found % 20).unique()) == 12
    assert torch.equal(found, select(doubled, 12, strategy))
    assert len(select(doubled, 12, strategy, near_duplicates=True)) == 12


def test_near_duplicates_come_if_they_may(doubled):
    assert len((select(doubled, 12, "entropy", near_duplicates=True) % 20).unique()) == 4


@pytest.mark.parametrize("strategy", ["random", "entropy", "core_set", "typiclust"])
def test_near_duplicates_also_of_labeled_images_come_last(doubled, strategy):
    found = select(doubled.with_labeled(torch.arange(5)), 50, strategy)
    assert len(found.unique()) == 50
    assert sorted((found[:15] % 20).tolist()) == list(range(5, 20))


def test_another_seed_selects_other_images(doubled):
    assert not torch.equal(select(doubled, 12, "random", seed=0), select(doubled, 12, "random", seed=1))


def test_bad_input_is_refused(doubled):
    with pytest.raises(InputError, match="unknown strategy 'entropie'; did you mean 'entropy'"):
        select(doubled, 3, "entropie")
    with pytest.raises(InputError, match="between 1 and 60 of the remaining images, got 61"):
        select(doubled, 61)


def test_the_typical_distance_is_the_root_mean_square_over_all_pairs():
    features = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.cdist(features, features).square().mean().sqrt()
    assert typical_distance(features, squared_norms(features)) == pytest.approx(float(expected), rel=1e-4)


def test_distances_in_blocks_are_those_of_one_block(monkeypatch):
    features, centers = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).split([40, 10])
    expected = torch.cdist(features, centers).square().amin(dim=1)
    monkeypatch.setattr("afield.labeling.distances.ROWS", 7)
    torch.testing.assert_close(to_nearest(features, squared_norms(features), centers), expected, atol=1e-5, rtol=1e-4)


def test_weighted_k_means_gives_weighted_means():
    features = torch.tensor([[0.0], [1.0], [10.0], [14.0]])
    centers, assigned = kmeans(features, 2, torch.Generator().manual_seed(0), torch.tensor([3.0, 1.0, 1.0, 1.0]))
    assert sorted(centers.squeeze(1).tolist()) == [0.25, 12.0]
    assert assigned[0] == assigned[1] != assigned[2] == assigned[3]


def test_an_index_is_drawn_by_its_weight():
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([drawn(torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0]), generator) for _ in range(4000)]).bincount()
    assert counts[0] == counts[2] == 0
    assert counts[3] / 4000 == pytest.approx(0.75, abs=0.03)
