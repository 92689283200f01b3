"""Groups of images are never on both sides of a split: validation, folds, unseen domains, images to adapt to."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings, strategies as st

from afield.data import Unlabeled, Validation, make_fold, parts_of
from afield.data.splits import deal
from afield.errors import InputError
from tests.data.test_splits import image_set


@st.composite
def grouped_sets(draw, domains="abc", given_splits=False):
    """Bursts of 1 to 6 images; most are of one class and one domain, some are in two."""
    labels, names, groups, splits = [], [], [], []
    for group in range(draw(st.integers(20, 40))):
        label, name = draw(st.integers(0, 2)), domains[group % len(domains)]
        for _ in range(draw(st.integers(1, 6))):
            crosses = draw(st.integers(0, 19)) == 0
            labels.append(draw(st.integers(0, 2)) if crosses else label)
            names.append(draw(st.sampled_from(domains)) if crosses else name)
            groups.append(group)
            splits.append(draw(st.sampled_from([0, 0, 0, 1, 2])) if given_splits else -1)
    domains_or_none = None if len(domains) == 1 else names
    return replace(image_set(labels, domains_or_none, splits), groups=np.array(groups))


def check_apart(data, fold):
    parts = {"train": fold.train, "val": fold.val, "test": np.concatenate([*fold.tests.values()])}
    if fold.adapt:
        parts["adapt"] = np.concatenate([*fold.adapt.values()])
    found = {name: set(data.groups[indices].tolist()) for name, indices in parts.items()}
    for name, groups in found.items():
        assert groups
        for other in found.keys() - {name}:
            assert groups.isdisjoint(found[other]), (name, other)


@settings(deadline=None, max_examples=60)
@given(grouped_sets(), st.integers(0, 1000), st.floats(0.05, 0.5), st.booleans(), st.booleans())
def test_no_group_is_on_both_sides_when_a_domain_is_left_out(data, seed, fraction, stratified, adapt):
    assume(len(data.domain_names) == 3)
    unlabeled = Unlabeled(0.4) if adapt else None
    for held_out in (data.domain_names[:1], data.domain_names[1:2]):
        fold = make_fold(data, held_out, Validation(fraction, stratified), seed, unlabeled)
        check_apart(data, fold)
        out = {data.domain_names.index(name) for name in held_out}
        assert not out & set(data.domains[np.concatenate([fold.train, fold.val])].tolist())
        lost = set(range(len(data))) - {
            *fold.train,
            *fold.val,
            *fold.adapt.get(held_out[0], ()),
            *fold.tests[held_out[0]],
        }
        in_test = set(data.groups[np.isin(data.domains, [*out])].tolist())
        assert {int(data.groups[i]) for i in lost} <= in_test  # nothing else is lost


@settings(deadline=None, max_examples=40)
@given(grouped_sets("a"), st.integers(0, 1000))
def test_no_group_is_in_two_of_five_folds_and_every_image_is_tested_once(data, seed):
    folds = [make_fold(data, [part], Validation(0.2), seed) for part in parts_of(data)]
    for fold in folds:
        check_apart(data, fold)
    tested = np.concatenate([*(indices for fold in folds for indices in fold.tests.values())])
    assert sorted(tested.tolist()) == list(range(len(data)))


@settings(deadline=None, max_examples=40)
@given(grouped_sets("a", given_splits=True), st.integers(0, 1000))
def test_given_splits_lose_the_training_images_whose_group_is_also_in_another_split(data, seed):
    assume({0, 2} <= set(data.given.tolist()))
    try:
        fold = make_fold(data, ["test"], Validation(0.2), seed)
    except InputError:  # each group has an image in the test set, or all others have one in the validation set
        reject()
    check_apart(data, fold)
    assert fold.tests["test"].tolist() == np.flatnonzero(data.given == 2).tolist()


def bursts(sizes, label=lambda i: i % 2, domain=lambda i: "a"):
    """Bursts of these sizes, one after the other."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    data = image_set([label(i) for i in group.tolist()], [domain(i) for i in group.tolist()])
    return replace(data, groups=group)


def test_groups_of_one_image_give_the_split_without_groups():
    data = image_set([0, 1, 2, 1] * 20, ["a"] * 30 + ["b"] * 30 + ["c"] * 20)
    grouped = replace(data, groups=np.arange(80)[::-1].copy())
    for seed in range(5):
        plain, found = (make_fold(each, ["a"], Validation(0.2), seed) for each in (data, grouped))
        assert plain.hash(data) == found.hash(grouped)


def test_validation_comes_close_to_its_fraction_with_bursts_of_many_sizes():
    rng = np.random.default_rng(0)
    data = bursts(rng.integers(1, 12, 200), domain=lambda i: "ab"[i % 2])
    for seed in range(10):
        fold = make_fold(data, ["b"], Validation(0.1), seed)
        rest = (data.domains == 0).sum()
        assert len(fold.val) == pytest.approx(0.1 * rest, abs=6)  # half of the largest burst


def test_bursts_that_are_all_larger_than_the_fraction_still_validate():
    data = bursts([20] * 6, domain=lambda i: "ab"[i % 2])
    fold = make_fold(data, ["b"], Validation(0.1), 0)
    assert (len(fold.train), len(fold.val)) == (40, 20)


def test_the_only_group_of_a_class_is_not_drawn():
    data = bursts([4] * 10, label=lambda i: int(i == 0))
    for seed in range(10):
        fold = make_fold(data, ["fold 1"], Validation(0.3), seed)
        tested = set(data.groups[fold.tests["fold 1"]].tolist())
        assert 0 in tested | set(data.groups[fold.train].tolist())


def test_one_group_cannot_train_and_validate():
    with pytest.raises(InputError, match="1 groups are too few for training and validation"):
        make_fold(bursts([10, 5], domain=lambda i: "ab"[i]), ["b"], Validation(), 0)


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(InputError, match="fold 5 has no test images; 4 groups are too few for 5 folds"):
        make_fold(bursts([10] * 4), ["fold 5"], Validation(), 0)


def test_a_single_group_cannot_be_adapted_to_and_tested_on():
    data = bursts([10, 5, 5, 5], label=lambda i: 0 if i == 0 else i % 2, domain=lambda i: "abbb"[i])
    with pytest.raises(InputError, match="a is a single group; --adapt-fraction needs at least 2"):
        make_fold(data, ["a"], Validation(0.3), 0, Unlabeled(0.2))


def test_a_domain_keeps_its_validation_groups_whichever_other_domain_is_left_out():
    data = bursts([3] * 40, domain=lambda i: "abcd"[i % 4])
    without_a, without_b = (make_fold(data, [d], Validation(0.2), 5).val for d in "ab")
    for domain in (2, 3):
        kept = [val[data.domains[val] == domain].tolist() for val in (without_a, without_b)]
        assert kept[0] == kept[1]
        assert len(kept[0]) == 6


def test_folds_of_groups_share_out_images_and_classes():
    rng = np.random.default_rng(1)
    data = bursts(rng.integers(1, 10, 300), label=lambda i: i % 3)
    part = deal(data.labels, 5, np.random.default_rng(0), data.groups)
    counts = np.array([np.bincount(data.labels[part == fold], minlength=3) for fold in range(5)])
    assert (counts.max(axis=0) - counts.min(axis=0)).max() <= 2
    others = deal(data.labels, 5, np.random.default_rng(1), data.groups)
    assert (part != others).any()
    assert (part == deal(data.labels, 5, np.random.default_rng(0), data.groups)).all()


def test_hundred_thousand_groups_are_split_in_seconds():
    count = 100_000
    data = replace(image_set([i % 7 for i in range(count)]), groups=np.arange(count) // 2)
    check_apart(data, make_fold(data, ["fold 1"], Validation(), 0))


def test_only_the_named_domains_train():
    data = image_set([0, 1] * 40, ["a"] * 30 + ["b"] * 30 + ["c"] * 20)
    fold = make_fold(data, ["a"], Validation(0.2), 0, None, ["a", "b"])
    assert set(data.domains[fold.train]) == set(data.domains[fold.val]) == {1}
    both = make_fold(data, ["a"], Validation(0.2), 0)
    assert set(fold.val) == {i for i in both.val if data.domains[i] == 1}
    with pytest.raises(InputError, match="holding out b leaves no training images"):
        make_fold(data, ["b"], Validation(0.2), 0, None, ["b"])


def test_given_test_images_of_domains_never_train():
    data = image_set([0, 1] * 20, ["a"] * 20 + ["b"] * 20, given=[0] * 15 + [2] * 5 + [0] * 15 + [2] * 5)
    fold = make_fold(data, ["a"], Validation(0.2), 0)
    assert sorted([*fold.train, *fold.val]) == list(range(20, 35))
    assert fold.tests["a"].tolist() == list(range(20))
