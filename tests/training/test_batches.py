"""Class-balanced batches."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from afield.training import Subset
from afield.training.batches import class_balanced


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
