"""Selection by name: near duplicates, seeds, bad input, k-means, sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from afield.errors import InputError
from afield.labeling import STRATEGIES, Pool, select
from afield.labeling.distances import FeatureRows, squared_norms, to_nearest
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
    doubled.features[7, 2] = torch.nan
    for near_duplicates in (False, True):
        with pytest.raises(InputError, match="the features of image 7 are not finite"):
            select(doubled, 3, "entropy", near_duplicates=near_duplicates)


@pytest.mark.parametrize("strategy", STRATEGIES.names)
def test_a_pool_that_is_read_in_small_blocks_from_a_file_gives_the_same_images(strategy, tmp_path, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    features, logits = (torch.randn(60, width, generator=generator).round(decimals=2) for width in (8, 4))
    given = {"labeled": torch.arange(60) % 7 == 0, "draws": logits.expand(2, -1, -1), "predicted_losses": logits[:, 0]}
    expected = select(Pool(features, logits, **given), 12, strategy)
    np.save(tmp_path / "features.npy", features.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "features.npy", mmap_mode="c"))
    monkeypatch.setattr("afield.labeling.distances.ROWS", 7)
    assert select(Pool(mapped, logits, **given), 12, strategy).tolist() == expected.tolist()


def test_rows_of_features_are_those_of_a_copy():
    features = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    indices, lengths = torch.tensor([7, 2, 19, 5]), features.norm(dim=1, keepdim=True)
    rows, copy = FeatureRows(features, indices, lengths), torch.nn.functional.normalize(features[indices], dim=1)
    assert len(rows) == 4
    assert torch.equal(rows[1:3], copy[1:3])
    assert torch.equal(rows[torch.tensor([3, 0])], copy[[3, 0]])
    assert torch.equal(FeatureRows(features)[4:6], features[4:6])


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
