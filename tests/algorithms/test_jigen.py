"""JiGen: the set of permutations, the order of tiles, and what enters which loss."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from afield.algorithms import Batch, JiGen
from afield.algorithms.jigen import distant_permutations, shuffle_tiles
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.objective import Objective


def make_classifier() -> Classifier:
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(3 * 81, 5))
    objective = Objective(LinearHead(5, 3), {"cross_entropy": 1.0})
    return Classifier(backbone, objective, mean=(0.0,) * 3, std=(1.0,) * 3, dropout=0.0)


def make_batch(count: int = 10) -> Batch:
    images = torch.rand(count, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.arange(count) % 3, torch.zeros(count, dtype=torch.int64), torch.arange(count), 0.5)


def test_thirty_permutations_differ_in_seven_places_or_more_and_the_first_nine_in_all():
    """Two drawn by chance differ in 8 on average, and some of 435 pairs in 4 or fewer."""
    found = distant_permutations(30)
    assert found.shape == (31, 9)
    assert found[0].tolist() == list(range(9))
    assert (found.sort(dim=1).values == torch.arange(9)).all()
    distances = (found[:, None] != found).sum(dim=2)
    pairs = distances[torch.triu_indices(31, 31, 1).unbind()]
    assert torch.bincount(pairs).tolist() == [0] * 7 + [72, 207, 186]
    assert (distances[:9, :9].fill_diagonal_(9) == 9).all()
    assert torch.equal(distant_permutations(3), found[:4])


def test_the_first_permutation_by_hand():
    """The first in lexicographic order that leaves no tile: neighbors change places, the last three go round."""
    assert distant_permutations(1)[1].tolist() == [1, 0, 3, 2, 5, 4, 7, 8, 6]


def test_every_place_shows_the_tile_that_the_order_names():
    tile = torch.arange(9.0).view(3, 3).repeat_interleave(4, 0).repeat_interleave(5, 1)
    place = torch.arange(20.0).view(4, 5).repeat(3, 3)
    images = torch.stack([tile, place]).expand(4, 2, 12, 15)
    orders = torch.stack([torch.randperm(9, generator=torch.Generator().manual_seed(i)) for i in range(4)])
    found = shuffle_tiles(images, orders)
    for row in range(4):
        assert torch.equal(found[row, 0, ::4, ::5].flatten().long(), orders[row])
        assert torch.equal(found[row, 1], place)
        whole = orders[row].view(3, 3).repeat_interleave(4, 0).repeat_interleave(5, 1)
        assert torch.equal(found[row, 0].long(), whole)


def test_where_three_does_not_divide_the_side_the_middle_is_shuffled_and_its_border_repeated():
    images = torch.arange(8.0)[None, None, :, None] + 10 * torch.arange(7.0)
    found = shuffle_tiles(images, torch.arange(8, -1, -1)[None])
    rows, columns = torch.tensor([5, 5, 6, 3, 4, 1, 2, 2]), torch.tensor([4, 5, 2, 3, 0, 1, 1])
    assert torch.equal(found[0, 0], rows[:, None] + 10.0 * columns)
    assert torch.equal(shuffle_tiles(images[:, :, 1:7, :6], torch.arange(9)[None]), images[:, :, 1:7, :6])


@pytest.mark.parametrize(("share", "kept"), [(0.6, 6), (0.0, 1), (1.0, 10), (0.55, 6)])
def test_a_share_stays_in_order_and_alone_enters_the_objective(share, kept):
    classifier, batch, seen = make_classifier(), make_batch(), []
    algorithm = JiGen(classifier, [10], ordered=share, weight=0.5)
    classifier.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    terms = algorithm(batch)
    same = (seen[0] == batch.inputs).flatten(1).all(dim=1)
    assert same.sum() == kept
    torch.testing.assert_close(terms["objective"], classifier(batch.inputs[same], batch.targets[same]))
    orders = [orders_shown(puzzle, image)[0] for puzzle, image in zip(seen[0], batch.inputs, strict=True)]
    logits = algorithm.solver(classifier.features(seen[0]))
    torch.testing.assert_close(terms["jigsaw"], 0.5 * F.cross_entropy(logits, torch.tensor(orders)))


def orders_shown(puzzle: torch.Tensor, image: torch.Tensor) -> list[int]:
    """By which of the 31 orders the image becomes this one."""
    every = shuffle_tiles(image.expand(31, -1, -1, -1), distant_permutations(30))
    return (every == puzzle).flatten(1).all(dim=1).nonzero().flatten().tolist()


def test_every_permutation_is_drawn_and_the_others_of_the_batch_do_not_matter():
    classifier, batch, seen = make_classifier(), make_batch(124), []
    classifier.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    algorithm = JiGen(classifier, [124], ordered=0.0)
    for _ in range(3):
        algorithm(batch)
    pairs = zip(torch.cat(seen), batch.inputs.repeat(3, 1, 1, 1), strict=True)
    found = [orders_shown(puzzle, image) for puzzle, image in pairs]
    assert all(len(orders) == 1 for orders in found)
    counts = torch.bincount(torch.tensor(found).flatten(), minlength=31)
    assert counts[0] == 3
    assert counts[1:].min() > 0


@pytest.mark.parametrize("options", [{"weight": -1.0}, {"ordered": 1.5}, {"count": 0}, {"count": 2.5}])
def test_an_option_out_of_bounds_is_an_error(options):
    with pytest.raises(ValueError, match="got"):
        JiGen(make_classifier(), [10], **options)
