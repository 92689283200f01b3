"""Strategies, worked out by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from afield.errors import InputError
from afield.labeling import (
    Pool,
    badge,
    bald,
    clue,
    core_set,
    entropy,
    learning_loss,
    least_confidence,
    margin,
    typiclust,
)
from afield.labeling.badge import class_gradients
from afield.labeling.bald import disagreement
from afield.labeling.clue import nearest_each
from afield.labeling.entropy import prediction_entropy
from afield.labeling.typiclust import typicality


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mask(count: int, *indices: int) -> torch.Tensor:
    found = torch.zeros(count, dtype=torch.bool)
    found[list(indices)] = True
    return found


PROBABILITIES = torch.tensor([[0.5, 0.45, 0.05], [0.4, 0.3, 0.3], [0.9, 0.05, 0.05], [0.45, 0.3, 0.25]])
UNCERTAIN = Pool(torch.zeros(4, 1), PROBABILITIES.log())


def test_entropy_margin_and_least_confidence_order_the_same_predictions_differently():
    expected = [-sum(p * np.log(p) for p in row) for row in PROBABILITIES.tolist()]
    assert prediction_entropy(UNCERTAIN.logits).tolist() == pytest.approx(expected, abs=1e-6)
    assert entropy(UNCERTAIN, 4, generator()).tolist() == [1, 3, 0, 2]  # 1.089, 1.067, 0.856, 0.394 nats
    assert margin(UNCERTAIN, 4, generator()).tolist() == [0, 1, 3, 2]  # gaps 0.05, 0.1, 0.15, 0.85
    assert least_confidence(UNCERTAIN, 4, generator()).tolist() == [1, 3, 0, 2]  # 0.4, 0.45, 0.5, 0.9


def test_images_of_equal_score_come_in_their_order_and_excluded_ones_not_at_all():
    pool = Pool(torch.zeros(5, 1), torch.zeros(5, 2), labeled=mask(5, 0), excluded=mask(5, 3))
    assert entropy(pool, 3, generator()).tolist() == [1, 2, 4]


def test_bald_is_the_information_that_the_draws_share():
    certain = torch.tensor([[100.0, 0.0], [0.0, 0.0]])  # image 0: sure both times; image 1: unsure both times
    torn = torch.tensor([[100.0, 0.0], [0.0, 100.0]])  # image 2: sure, but of another class in each draw
    draws = torch.stack(
        [torch.stack([certain[0], certain[1], torn[0]]), torch.stack([certain[0], certain[1], torn[1]])]
    )
    assert disagreement(draws).tolist() == pytest.approx([0, 0, np.log(2)], abs=1e-6)
    assert bald(Pool(torch.zeros(3, 1), draws[0], draws=draws), 1, generator()).tolist() == [2]


def test_k_center_greedy_on_a_line_goes_to_the_farthest_point_again_and_again():
    line = torch.tensor([[0.0], [1.0], [4.0], [9.0], [10.0]])
    pool = Pool(line, torch.zeros(5, 2), labeled=mask(5, 0))
    # distances to 0: 1, 4, 9, 10 -> 10 (index 4); then 1, 4, 1 -> 4 (index 2); then 1 and 1: the first of both
    assert core_set(pool, 4, generator()).tolist() == [4, 2, 1, 3]


@pytest.mark.parametrize("seed", range(8))
def test_k_center_greedy_is_within_twice_the_best_radius(seed):
    points = torch.randn(12, 2, generator=generator(seed))
    distances = torch.cdist(points, points)

    def radius(centers: list[int]) -> float:
        return float(distances[:, centers].amin(dim=1).max())

    best = min(radius(list(centers)) for centers in combinations(range(12), 3))
    found = core_set(Pool(points, torch.zeros(12, 2)), 3, generator(seed))
    assert best <= radius(found.tolist()) <= 2 * best


def test_typicality_is_the_inverse_of_the_mean_distance_to_half_the_cluster():
    line = torch.tensor([[0.0], [1.0], [2.0], [4.0], [8.0]])  # two neighbors each
    expected = [1 / 1.5, 1 / 1, 1 / 1.5, 1 / 2.5, 1 / 5]
    assert typicality(line, generator()).tolist() == pytest.approx(expected, rel=1e-4)


def angles(*degrees: float) -> torch.Tensor:
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def test_typiclust_takes_the_most_typical_image_of_the_largest_cluster_without_labels():
    # three groups on the circle, of 7, 6 and 5 images; each is densest in its middle
    groups = angles(0, 4, 7, 9, 11, 14, 18, 120, 125, 128, 130, 133, 138, 240, 245, 248, 251, 256)
    near, far = Pool(groups, torch.zeros(18, 2)), Pool(groups * 7, torch.zeros(18, 2))
    assert typiclust(near, 3, generator()).tolist() == [3, 10, 15]
    assert typiclust(near, 3, generator()).tolist() == typiclust(far, 3, generator()).tolist()
    labeled = Pool(groups, torch.zeros(18, 2), labeled=mask(18, 0))
    assert typiclust(labeled, 2, generator()).tolist() == [10, 15]


def test_clue_clusters_by_entropy_so_that_a_certain_image_does_not_move_a_center():
    # two groups on a line; the images at 2 and 12 are certain, and the centers are the means of the uncertain ones
    features = torch.tensor([0.0, 0.4, 0.5, 1.0, 2.0, 10.0, 10.1, 10.6, 12.0])[:, None]
    logits = torch.zeros(9, 2)
    logits[4, 0] = logits[8, 0] = 50.0
    # centers 0.475, of four images of log 2, and 10.23, of three; with the certain ones they would be 0.78 and 10.68
    assert clue(Pool(features, logits), 2, generator()).tolist() == [2, 6]


def test_clue_softens_its_weights_by_the_temperature():
    features = torch.tensor([[0.0], [1.0], [1.2]])
    logits = torch.tensor([[8.0, 0.0], [0.0, 0.0], [8.0, 0.0]])  # at temperature 1 nearly only image 1 counts
    assert clue(Pool(features, logits), 1, generator()).tolist() == [1]
    wide = Pool(torch.tensor([[0.0], [0.7], [1.0], [1.0]]), torch.tensor([[9.0, 0], [9.0, 0], [0.0, 0], [9.0, 0]]))
    assert clue(wide, 1, generator()).tolist() == [2]
    assert clue(wide, 1, generator(), temperature=100.0).tolist() == [1]  # the plain mean is 0.675


def test_the_image_nearest_to_a_center_is_given_once():
    assert nearest_each(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0.1], [0.2], [4.0]])).tolist() == [0, 1, 2]


def test_the_embedding_of_badge_is_the_gradient_of_the_last_layer():
    features = torch.randn(6, 3, generator=generator())
    weight = torch.randn(4, 3, generator=generator(1), requires_grad=True)
    for row, gradients in zip(features, class_gradients(features @ weight.T), strict=True):
        logits = row @ weight.T
        loss = torch.nn.functional.cross_entropy(logits[None], logits.argmax()[None])
        (expected,) = torch.autograd.grad(loss, weight)
        torch.testing.assert_close(torch.outer(gradients, row), expected)


def test_badge_draws_by_the_squared_distance_of_embeddings():
    features = torch.randn(7, 3, generator=generator())
    logits = torch.randn(7, 2, generator=generator(1))
    embeddings = torch.einsum("nk,nd->nkd", class_gradients(logits), features).flatten(1)
    first = int(embeddings.norm(dim=1).argmax())
    expected = torch.cdist(embeddings, embeddings[first : first + 1]).squeeze(1).square()
    drawn = [badge(Pool(features, logits), 2, generator(seed)).tolist() for seed in range(3000)]
    assert {pair[0] for pair in drawn} == {first}
    counts = torch.tensor([pair[1] for pair in drawn]).bincount(minlength=7) / 3000
    torch.testing.assert_close(counts, expected / expected.sum(), atol=0.03, rtol=0)


def test_learning_loss_takes_the_largest_predicted_losses():
    pool = Pool(torch.zeros(3, 1), torch.zeros(3, 2), predicted_losses=torch.tensor([0.1, 2.0, 0.7]))
    assert learning_loss(pool, 2, generator()).tolist() == [1, 2]


@pytest.mark.parametrize("strategy", [bald, learning_loss])
def test_a_strategy_says_what_its_pool_lacks(strategy):
    with pytest.raises(InputError, match=f"strategy {strategy.__name__} needs .*Pool"):
        strategy(UNCERTAIN, 1, generator())


def test_a_pool_whose_sizes_do_not_agree_is_refused():
    with pytest.raises(InputError, match="a pool of 3 images needs 3 values in logits, got 2"):
        Pool(torch.zeros(3, 1), torch.zeros(2, 2))
    with pytest.raises(InputError, match=r"needs draws \[S, 3, K\], got \[2, 4, 5\]"):
        Pool(torch.zeros(3, 1), torch.zeros(3, 5), draws=torch.zeros(2, 4, 5))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"features": torch.zeros(3, 1).half()},
            "features of a pool must be float32 or float64 on the CPU, got float16",
        ),
        ({"labeled": torch.tensor([0, 2, 1])}, "labeled of a pool must be bool on the CPU, got int64"),
        ({"logits": torch.zeros(3, 2, device="meta")}, "logits of a pool must be .* on the CPU, got float32 on meta"),
        ({"logits": torch.tensor([[0.0, torch.nan]] * 3)}, "logits of a pool must be finite"),
    ],
)
def test_a_pool_of_other_types_or_without_finite_logits_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        Pool(**({"features": torch.zeros(3, 1), "logits": torch.zeros(3, 2)} | change))
