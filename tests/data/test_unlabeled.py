"""Images of an unseen part that are given without their labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from afield.data import Unlabeled, Validation, make_fold
from afield.errors import InputError
from tests.data.test_splits import image_set

HALF = Unlabeled(0.5)


def data(labels=None):
    return image_set([0, 1] * 40 if labels is None else labels, ["a"] * 30 + ["b"] * 31 + ["c"] * 19)


def fold(unlabeled, held_out=("a",), seed=0, labels=None):
    return make_fold(data(labels), held_out, Validation(0.2), seed, unlabeled)


@pytest.mark.parametrize(("fraction", "count"), [(0.5, 15), (0.1, 3), (0.01, 1), (0.99, 29)])
def test_a_fraction_of_the_unseen_part_is_to_adapt_to_and_the_rest_tests(fraction, count):
    plain, found = fold(None), fold(Unlabeled(fraction))
    assert len(found.adapt["a"]) == count
    assert sorted([*found.adapt["a"], *found.tests["a"]]) == plain.tests["a"].tolist()
    assert plain.adapt == {}
    for part in ("train", "val"):
        assert np.array_equal(getattr(found, part), getattr(plain, part))


def test_two_unseen_parts_are_divided_each_as_if_it_were_alone():
    both, alone = fold(HALF, ("b", "a")), fold(HALF, ("a",))
    assert {name: len(part) for name, part in both.adapt.items()} == {"b": 16, "a": 15}
    assert np.array_equal(both.adapt["a"], alone.adapt["a"])


def test_the_draw_follows_the_seed_and_no_label():
    garbage = np.random.default_rng(0).integers(0, 2, 80)
    garbage[30:] = data().labels[30:]
    found = fold(HALF)
    assert np.array_equal(fold(HALF, labels=garbage).adapt["a"], found.adapt["a"])
    assert not np.array_equal(fold(HALF, seed=1).adapt["a"], found.adapt["a"])


def test_transductive_adapts_to_all_images_that_test():
    found = fold(Unlabeled(None))
    assert np.array_equal(found.adapt["a"], found.tests["a"])
    assert len(found.tests["a"]) == 30


def test_the_images_to_adapt_to_are_part_of_the_hash_if_there_are_any():
    found, images = fold(HALF), data()
    assert dataclasses.replace(found, adapt={}).hash(images) != found.hash(images)
    assert fold(HALF, seed=1).hash(images) != found.hash(images)
    plain = fold(None)
    assert plain.hash(images) == dataclasses.replace(plain, adapt={}).hash(images)


def test_one_image_cannot_be_adapted_to_and_tested_on():
    small = image_set([0, 1] * 5, ["a"] + ["b"] * 9)
    with pytest.raises(InputError, match="a has 1 image; --adapt-fraction needs at least 2"):
        make_fold(small, ["a"], Validation(0.2), 0, HALF)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5])
def test_a_fraction_lies_between_0_and_1(fraction):
    with pytest.raises(InputError, match="--adapt-fraction must lie between 0 and 1, got"):
        Unlabeled(fraction)


def test_how_recipes_are_tested_in_words():
    assert Unlabeled(0.125).describe() == (
        "12.5 % of each unseen domain is given without labels; all recipes are tested on the other images"
    )
    assert Unlabeled(None).describe() == (
        "TRANSDUCTIVE: recipes that adapt see the test images themselves, without labels"
    )
