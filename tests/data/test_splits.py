"""Folds: nothing of the unseen in training, fair shares for validation, equal splits from equal seeds."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from afield.data import ImageSet, Unlabeled, Validation, load, make_fold, parts_of
from afield.data.splits import deal, validation
from afield.errors import InputError


def image_set(labels, domains=None, given=None, paths=None):
    """Images of one pixel, each with a digest of its own, and as many domains as `domains` names."""
    count = len(labels)
    names = sorted(set(domains)) if domains is not None else ["all"]
    return ImageSet(
        name="made",
        images=np.zeros((count, 1, 1, 3), dtype=np.uint8),
        labels=np.array(labels, dtype=np.int64),
        domains=np.array([names.index(d) for d in domains] if domains is not None else [0] * count, dtype=np.int64),
        digests=np.arange(1, count + 1, dtype=np.uint64) * np.uint64(7919),
        class_names=tuple(str(k) for k in range(max(labels) + 1)),
        domain_names=tuple(names),
        paths=tuple(paths) if paths is not None else tuple(str(i) for i in range(count)),
        given=np.array(given if given is not None else [-1] * count, dtype=np.int8),
    )


@st.composite
def domain_sets(draw):
    """Images of up to 4 classes in 3 or 4 domains of 5 images or more, so that 2 images of a domain share a class."""
    names = "abcd"[: draw(st.integers(3, 4))]
    domains = [name for name in names for _ in range(draw(st.integers(5, 20)))]
    labels = draw(st.lists(st.integers(0, 3), min_size=len(domains), max_size=len(domains)))
    return image_set(labels, domains)


def merged(fold):
    return np.concatenate([fold.train, fold.val, *fold.tests.values()])


@settings(deadline=None, max_examples=40)
@given(domain_sets(), st.integers(0, 1000), st.floats(0.05, 0.6), st.booleans(), st.integers(1, 2))
def test_a_fold_parts_all_images_and_keeps_the_unseen_out(data, seed, fraction, stratified, unseen):
    held_out = data.domain_names[:unseen]
    fold = make_fold(data, held_out, Validation(fraction, stratified), seed)
    assert sorted(merged(fold).tolist()) == list(range(len(data)))
    assert tuple(fold.tests) == fold.held_out == held_out
    for index, name in enumerate(held_out):
        assert fold.tests[name].tolist() == np.flatnonzero(data.domains == index).tolist()
    assert (data.domains[fold.train] >= unseen).all()
    assert (data.domains[fold.val] >= unseen).all()


@settings(deadline=None, max_examples=40)
@given(domain_sets(), st.integers(0, 1000), st.floats(0.05, 0.6), st.booleans())
def test_validation_has_its_share_of_each_domain_to_within_one_image(data, seed, fraction, stratified):
    fold = make_fold(data, data.domain_names[:1], Validation(fraction, stratified), seed)
    for domain in range(1, len(data.domain_names)):
        size = (data.domains == domain).sum()
        assert abs((data.domains[fold.val] == domain).sum() - fraction * size) <= 1


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_stratified_validation_has_its_share_of_each_class_in_each_domain(fraction):
    sizes = {"a": (40, 30, 10), "b": (20, 60, 5), "c": (1, 1, 1)}
    domains = [d for d, counts in sizes.items() for n in counts for _ in range(n)]
    labels = [k for counts in sizes.values() for k, n in enumerate(counts) for _ in range(n)]
    data = image_set(labels, domains)
    for seed in range(10):
        fold = make_fold(data, ["c"], Validation(fraction), seed)
        for domain in (0, 1):
            for label in range(3):
                size = sizes["ab"[domain]][label]
                found = ((data.domains[fold.val] == domain) & (data.labels[fold.val] == label)).sum()
                assert abs(found - fraction * size) <= 1.5


def test_what_does_not_divide_evenly_goes_to_another_class_at_each_seed():
    data = image_set([0, 1, 2, 3] * 3 + [0], ["a"] * 12 + ["b"])  # 3 of 12, one each of 3 of the 4 classes
    seen = [sorted(data.labels[make_fold(data, ["b"], Validation(0.25), seed).val].tolist()) for seed in range(30)]
    assert all(len(set(labels)) == 3 for labels in seen)
    assert len({tuple(labels) for labels in seen}) == 4


def test_unstratified_validation_does_not_look_at_the_classes():
    data = image_set([0] * 50 + [1] * 50 + [0], ["a"] * 100 + ["b"])
    counts = {
        int((data.labels[make_fold(data, ["b"], Validation(0.2, stratified=False), seed).val] == 0).sum())
        for seed in range(20)
    }
    assert len(counts) > 3
    stratified = {
        int((data.labels[make_fold(data, ["b"], Validation(0.2), seed).val] == 0).sum()) for seed in range(20)
    }
    assert stratified <= {9, 10, 11}


def test_equal_seeds_give_equal_splits_and_other_seeds_give_others():
    data = image_set([0, 1] * 40, ["a"] * 30 + ["b"] * 30 + ["c"] * 20)
    folds = [make_fold(data, ["a"], Validation(0.2), seed) for seed in (0, 0, 1)]
    assert folds[0].train.tolist() == folds[1].train.tolist()
    assert folds[0].val.tolist() == folds[1].val.tolist()
    assert folds[0].val.tolist() != folds[2].val.tolist()


def test_a_domain_keeps_its_validation_images_whichever_other_domain_is_left_out():
    data = image_set([0, 1] * 40, ["a"] * 30 + ["b"] * 30 + ["c"] * 20)
    without_a, without_b = (make_fold(data, [d], Validation(0.2), 5).val for d in "ab")
    in_c = [val[data.domains[val] == 2].tolist() for val in (without_a, without_b)]
    assert in_c[0] == in_c[1]
    assert len(in_c[0]) == 4


def test_the_hash_changes_with_seed_validation_and_what_is_left_out_and_with_nothing_else():
    data = image_set([0, 1] * 40, ["a"] * 30 + ["b"] * 30 + ["c"] * 20)

    def split_hash(held_out=("a",), fraction=0.2, seed=0):
        return make_fold(data, held_out, Validation(fraction), seed).hash(data)

    assert split_hash() == split_hash()
    others = [
        split_hash(seed=1),
        split_hash(fraction=0.3),
        split_hash(held_out=("b",)),
        split_hash(held_out=("a", "b")),
    ]
    assert len({split_hash(), *others}) == 5


def test_the_hash_names_images_by_their_pixels_in_any_order():
    data = image_set([0, 1] * 10, ["a"] * 10 + ["b"] * 10)
    fold = make_fold(data, ["a"], Validation(0.2), 0)
    expected = fold.hash(data)
    shuffled = type(fold)(fold.held_out, fold.train[::-1], fold.val[::-1], {"a": fold.tests["a"][::-1]})
    assert shuffled.hash(data) == expected
    swapped = type(fold)(fold.held_out, fold.val, fold.train, fold.tests)
    assert swapped.hash(data) != expected


def test_leaving_everything_out_is_an_error():
    data = image_set([0, 1] * 4, ["a"] * 4 + ["b"] * 4)
    with pytest.raises(InputError, match="holding out a, b leaves no training images"):
        make_fold(data, ["a", "b"], Validation(), 0)


def test_one_image_cannot_both_train_and_validate():
    data = image_set([0, 1, 1], ["a", "a", "b"])
    with pytest.raises(InputError, match="1 images are too few"):
        make_fold(data, ["a"], Validation(), 0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_validation_fraction_outside_zero_and_one_is_an_error_that_names_it(fraction):
    with pytest.raises(InputError, match=f"between 0 and 1, got {fraction}"):
        Validation(fraction)


@pytest.fixture
def listed(tmp_path):
    """Two domains whose official lists put one image in four aside, and a folder for the lists."""
    paths = [f"{d}/{c}/pic {i}.jpg" for d in ("art", "sketch") for c in ("cat", "dog") for i in range(4)]
    data = image_set([0] * 4 + [1] * 4 + [0] * 4 + [1] * 4, [p.split("/")[0] for p in paths], paths=paths)
    for domain in ("art", "sketch"):
        inside = [(p, 1 + ("dog" in p)) for p in paths if p.startswith(domain)]
        for name, wanted in (("train", "0123"), ("crossval", "3")):
            lines = [f"{p} {label}" for p, label in inside if p[-5] in wanted and (name == "crossval" or p[-5] != "3")]
            (tmp_path / f"{domain}_{name}_kfold.txt").write_text("\n".join(lines) + "\n")
        (tmp_path / f"{domain}_test_kfold.txt").write_text("".join(f"{p} {label}\n" for p, label in inside))
    return data, tmp_path


def test_official_lists_say_what_trains_and_what_validates(listed):
    data, folder = listed
    fold = make_fold(data, ["art"], Validation(lists=str(folder)), seed=0)
    assert [data.paths[i] for i in fold.val] == ["sketch/cat/pic 3.jpg", "sketch/dog/pic 3.jpg"]
    assert fold.train.tolist() == [8, 9, 10, 12, 13, 14]
    assert fold.tests["art"].tolist() == list(range(8))
    assert fold.hash(data) == make_fold(data, ["art"], Validation(lists=str(folder)), seed=9).hash(data)


def test_an_image_that_no_list_names_neither_trains_nor_validates(listed):
    data, folder = listed
    file = folder / "sketch_train_kfold.txt"
    file.write_text(file.read_text().replace("sketch/cat/pic 0.jpg 1\n", ""))
    fold = make_fold(data, ["art"], Validation(lists=str(folder)), seed=0)
    assert fold.train.tolist() == [9, 10, 12, 13, 14]
    assert len(fold.val) == 2


def test_lists_that_name_no_image_of_a_domain_are_an_error_that_names_it(listed):
    data, folder = listed
    for name in ("train", "crossval"):
        (folder / f"sketch_{name}_kfold.txt").write_text("elsewhere/cat/a.jpg 1\n")
    with pytest.raises(InputError, match="no list contains an image of domain 'sketch'"):
        make_fold(data, ["art"], Validation(lists=str(folder)), 0)


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_lists_is_an_error(listed, folder):
    data, parent = listed
    (parent / "empty").mkdir()
    with pytest.raises(InputError, match=r"found no .* lists"):
        make_fold(data, ["art"], Validation(lists=str(parent / folder)), 0)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=15, max_size=60).filter(lambda x: len(set(x)) > 1), st.integers(0, 1000))
def test_without_domains_five_folds_test_every_image_once_and_share_out_each_class(labels, seed):
    data = image_set(labels)
    assert parts_of(data) == ("fold 1", "fold 2", "fold 3", "fold 4", "fold 5")
    folds = [make_fold(data, [name], Validation(0.2), seed) for name in parts_of(data)]
    tested = [fold.tests[name] for fold, name in zip(folds, parts_of(data), strict=True)]
    assert sorted(np.concatenate(tested).tolist()) == list(range(len(labels)))
    assert max(map(len, tested)) - min(map(len, tested)) <= 1
    for label in set(labels):
        counts = [int((data.labels[test] == label).sum()) for test in tested]
        assert max(counts) - min(counts) <= 1
    for fold in folds:
        assert sorted(merged(fold).tolist()) == list(range(len(labels)))


def test_cross_validation_folds_are_drawn_anew_for_each_seed():
    data = image_set([0, 1] * 20)
    tests = {tuple(make_fold(data, ["fold 1"], Validation(0.2), seed).tests["fold 1"].tolist()) for seed in range(5)}
    assert len(tests) == 5


def test_a_given_test_set_is_the_only_part_to_leave_out_and_never_trains():
    data = image_set([0, 1] * 10, given=[0] * 12 + [2] * 8)
    assert parts_of(data) == ("test",)
    for seed in range(5):
        fold = make_fold(data, ["test"], Validation(0.25), seed)
        assert fold.tests["test"].tolist() == list(range(12, 20))
        assert sorted([*fold.train, *fold.val]) == list(range(12))
        assert len(fold.val) == 3


def test_the_digits_are_split_by_their_four_places():
    data = load("digits")
    assert parts_of(data) == data.domain_names
    fold = make_fold(data, ["wall"], Validation(0.1), 0)
    assert set(data.domains[fold.tests["wall"]]) == {data.domain_names.index("wall")}
    assert len(fold.val) == pytest.approx(0.1 * (len(fold.val) + len(fold.train)), abs=3)


def test_small_domains_share_their_validation_images_and_keep_one_to_train():
    sizes = [1] * 60 + [2] * 40 + [50] * 5
    domains = [f"{i:03d}" for i, size in enumerate(sizes) for _ in range(size)]
    data = image_set([i % 4 for i in range(len(domains))], domains)
    for seed in range(3):
        fold = make_fold(data, ["104"], Validation(), seed)
        assert set(data.domains[fold.train].tolist()) == set(range(104))
        assert len(fold.val) == pytest.approx(0.1 * 340, abs=2)


def test_the_last_training_image_of_a_class_is_never_taken():
    data = image_set([k for k in range(200) for _ in range(2)])
    fold = make_fold(data, ["fold 1"], Validation(), 0)
    assert len(fold.val) == 32
    assert set(data.labels[fold.train].tolist()) == set(range(200))


def test_parts_without_images_are_refused():
    with pytest.raises(InputError, match="4 images are too few for 5 folds"):
        make_fold(image_set([0, 0, 1, 1]), ["fold 5"], Validation(), 0)


def test_a_blank_line_in_a_list_says_nothing(listed):
    data, folder = listed
    with open(folder / "sketch_train_kfold.txt", "a") as file:
        file.write(" \n\n")
    assert len(make_fold(data, ["art"], Validation(lists=str(folder)), seed=0).val) == 2


def test_the_hash_is_that_of_the_sorted_digests_of_each_part():
    data = image_set([0, 1] * 10, ["a"] * 10 + ["b"] * 10)
    fold = make_fold(data, ["a"], Validation(0.2), 0, Unlabeled(0.5))
    parts = (fold.train, fold.val, fold.tests["a"], fold.adapt["a"])
    text = b"".join(np.sort(data.digests[part]).tobytes() + b"|" for part in parts)
    assert fold.hash(data) == hashlib.sha256(text).hexdigest()[:16]


def test_images_without_weight_do_not_train_but_validate():
    data = image_set([0, 1] * 20, ["a"] * 20 + ["b"] * 20)
    plain = make_fold(data, ["a"], Validation(0.2), 0)
    weights = np.where(np.arange(40) % 4 == 0, 0.0, 0.5)
    found = make_fold(replace(data, weights=weights), ["a"], Validation(0.2), 0)
    assert found.val.tolist() == plain.val.tolist()
    assert found.train.tolist() == [i for i in plain.train.tolist() if i % 4]
    with pytest.raises(InputError, match="no training image has a weight above 0"):
        make_fold(replace(data, weights=np.zeros(40)), ["a"], Validation(0.2), 0)


@pytest.mark.parametrize("seed", range(5))
def test_each_image_of_a_stratum_is_dealt_to_the_next_fold(seed):
    strata = np.random.default_rng(seed).integers(0, 4, 31) * 10
    rng, expected, turn = np.random.default_rng(seed), {}, 0
    for stratum in (0, 10, 20, 30):
        for index in rng.permutation([i for i in range(31) if strata[i] == stratum]).tolist():
            expected[index] = turn % 5
            turn += 1
    assert deal(strata, 5, np.random.default_rng(seed)).tolist() == [expected[i] for i in range(31)]


@pytest.mark.parametrize("seed", range(5))
def test_each_group_is_dealt_to_the_fold_with_the_fewest_of_its_stratum(seed):
    rng = np.random.default_rng(seed)
    groups, strata = rng.integers(0, 14, 60), rng.integers(0, 3, 60)
    names = np.unique(groups)
    members = {name: np.flatnonzero(groups == name).tolist() for name in names.tolist()}
    expected, sizes = np.full(60, -1), [0] * 4
    of_stratum = {stratum: [0] * 4 for stratum in range(3)}
    drawn = names[np.random.default_rng(seed).permutation(len(names))].tolist()
    for name in sorted(drawn, key=lambda each: len(members[each]), reverse=True):
        counts = [sum(strata[i] == stratum for i in members[name]) for stratum in range(3)]
        own = of_stratum[counts.index(max(counts))]
        fold = min(range(4), key=lambda each: (own[each], sizes[each], each))
        expected[members[name]] = fold
        own[fold] += len(members[name])
        sizes[fold] += len(members[name])
    assert deal(strata, 4, np.random.default_rng(seed), groups).tolist() == expected.tolist()


def test_a_fraction_below_one_image_takes_one_of_the_largest_domain():
    data = image_set([0, 1] * 20, ["a"] * 8 + ["b"] * 20 + ["c"] * 12)
    for seed in range(5):
        fold = make_fold(data, ["c"], Validation(1e-6), seed)
        assert data.domains[fold.val].tolist() == [1]


def test_parts_are_the_domains_the_given_test_set_or_five_folds():
    assert parts_of(image_set([0, 1], ["a", "b"])) == ("a", "b")
    assert parts_of(image_set([0, 1], given=[0, 2])) == ("test",)
    assert parts_of(image_set([0, 1], given=[0, 1])) == tuple(f"fold {i}" for i in (1, 2, 3, 4, 5))


def test_given_validation_images_are_the_only_ones():
    data = image_set([0, 1] * 10, ["a"] * 10 + ["b"] * 10, given=[-1] * 10 + [1, 0, 0, 1, 0, 0, 0, 0, 1, 0])
    fold = make_fold(data, ["a"], Validation(0.5), 0)
    assert fold.val.tolist() == [10, 13, 18]
    assert fold.train.tolist() == [11, 12, 14, 15, 16, 17, 19]


def test_the_order_of_a_domain_is_drawn_once_for_all_splits_of_a_seed():
    data = image_set([0, 1, 2] * 20, [name for name in "abcdef" for _ in range(10)])
    validation._order.cache_clear()
    folds = [make_fold(data, [name], Validation(0.2), seed) for seed in (0, 1) for name in "abcdef"]
    assert validation._order.cache_info().misses == 2 * 6
    for fold, (seed, name) in zip(folds, [(seed, name) for seed in (0, 1) for name in "abcdef"], strict=True):
        validation._order.cache_clear()
        assert fold.hash(data) == make_fold(data, [name], Validation(0.2), seed).hash(data)


def test_the_order_of_a_large_domain_is_not_kept_and_is_the_same(monkeypatch):
    data, found = image_set([0, 1] * 20, ["a"] * 20 + ["b"] * 20), []
    for size in (19, 20):
        monkeypatch.setattr(validation, "SMALL_DOMAIN", size)
        validation._order.cache_clear()
        found.append(make_fold(data, ["a"], Validation(0.2), 0).hash(data))
        assert validation._order.cache_info().currsize == size - 19
    assert found[0] == found[1]
