"""The batches of an epoch, and their parts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from lightning_fabric import Fabric

from afield.algorithms import Batch
from afield.training import Subset
from afield.training.batches import DRAWS, balanced, class_balanced, in_order, in_rounds, labeled, micro_batch, shuffled


def source_of(labels):
    """A subset of every second example of a set with these labels and others."""
    everything = np.repeat(labels, 2)
    everything[1::2] = 99
    return Subset(np.zeros((len(everything), 2), np.float32), everything, np.arange(0, len(everything), 2))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(1, 12), st.integers(0, 9))
def test_every_class_is_drawn_equally_often_in_every_stretch(sizes, batch, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    batch = min(batch, len(labels))
    batches = class_balanced(source_of(labels), batch, np.random.default_rng(seed))
    assert {len(each) for each in batches} == {batch}
    assert len(batches) == len(labels) // batch
    drawn = labels[np.concatenate(batches)]
    for start in range(0, len(drawn), len(sizes)):
        stretch = drawn[start : start + len(sizes)]
        assert len(set(stretch.tolist())) == len(stretch)


def test_the_examples_of_a_class_are_used_up_before_one_is_drawn_again():
    labels = np.repeat([0, 1], [10, 2])
    drawn = np.concatenate(class_balanced(source_of(labels), 4, np.random.default_rng(0)))
    counts = np.bincount(drawn, minlength=12)
    assert counts[10:].tolist() == [3, 3]
    assert sorted(counts[:10].tolist()) == [0] * 4 + [1] * 6


def test_the_order_depends_on_the_generator_alone():
    labels = np.repeat([0, 1, 2], [9, 5, 2])
    first, again, other = (class_balanced(source_of(labels), 4, np.random.default_rng(s)) for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.concatenate(first).max() == pytest.approx(15)


def whole(count, domains=None):
    """A subset of all examples, each with its number as its feature and twice that as its label."""
    numbers = np.arange(count)
    inputs = numbers[:, None].astype(np.float32)
    return Subset(inputs, 2 * numbers, numbers, None if domains is None else np.asarray(domains))


@pytest.mark.parametrize(("count", "batch"), [(10, 3), (9, 3), (7, 7), (5, 1)])
def test_full_batches_of_a_random_order(count, batch):
    batches = shuffled(whole(count), batch, np.random.default_rng(0))
    assert [len(each) for each in batches] == [batch] * (count // batch)
    order = np.random.default_rng(0).permutation(count)
    assert np.concatenate(batches).tolist() == order[: count // batch * batch].tolist()


def test_rounds_follow_each_other_in_new_orders():
    batches = in_rounds(whole(4), 3, 5, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    expected = np.concatenate([rng.permutation(4) for _ in range(4)])[:15]
    assert [each.tolist() for each in batches] == expected.reshape(5, 3).tolist()


def test_domains_alternate_in_the_order_of_their_own_rounds():
    domains = [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    batches = balanced(whole(10, domains), 5, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    first = np.concatenate([rng.permutation([0, 1, 2]) for _ in range(2)])[:4]
    second = rng.permutation(np.arange(3, 10))[:4]
    expected = np.stack([first, second], axis=1).reshape(2, 4)
    assert [each.tolist() for each in batches] == expected.tolist()


def test_ways_to_draw_by_name():
    assert {"shuffled": shuffled, "balanced": balanced, "class_balanced": class_balanced} == DRAWS


def test_a_batch_has_domains_indices_and_progress_and_its_parts_have_consecutive_rows():
    source, positions = whole(8, [5, 5, 7, 7, 7, 5, 9, 9]), np.array([6, 0, 3, 2, 5, 7, 1])
    inputs, targets = torch.arange(7.0)[:, None], torch.arange(7)
    given = torch.arange(7.0)[:, None] + 10
    batch = labeled(inputs, targets, source, positions, 0.25, Fabric(accelerator="cpu", devices=1), given)
    assert batch.domains.tolist() == [2, 0, 1, 1, 0, 2, 0]
    assert batch.indices.tolist() == positions.tolist()
    assert batch.progress == 0.25
    assert batch.target is given
    found = [micro_batch(batch, index, 3) for index in range(3)]
    assert [part.targets.tolist() for part in found] == [[0, 1], [2, 3], [4, 5, 6]]
    for part in found:
        rows = part.targets
        assert isinstance(part, Batch)
        assert torch.equal(part.inputs, inputs[rows])
        assert torch.equal(part.target, given[rows])
        assert torch.equal(part.domains, batch.domains[rows])
        assert torch.equal(part.indices, batch.indices[rows])
        assert part.progress == 0.25
    assert micro_batch(batch._replace(target=None), 0, 2).target is None


def test_all_examples_come_in_order():
    batches = list(in_order(whole(5, [1, 1, 0, 0, 1]), 2, 0.5, Fabric(accelerator="cpu", devices=1)))
    assert [batch.targets.tolist() for batch in batches] == [[0, 2], [4, 6], [8]]
    assert [batch.domains.tolist() for batch in batches] == [[1, 1], [0, 0], [1]]
    assert [batch.indices.tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
    assert all(batch.progress == 0.5 and batch.target is None for batch in batches)
