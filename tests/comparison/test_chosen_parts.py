"""Which domains are held out, which train, and which recipe is the baseline; weights; one image of a group is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import afield as package
from afield.comparison.analysis import analyze, gallery
from afield.comparison.grid import Comparison, chosen_parts
from afield.comparison.summary import recommend
from afield.data import Validation
from afield.errors import InputError
from afield.models import BackboneConfig
from afield.recipes import resolve
from afield.records import read_json, read_records, read_summary
from afield.runs.config import ExperimentConfig, choose_memory, choose_training
from afield.runs.run import Run
from afield.training import Subset
from afield.training.batches import balanced, in_rounds
from tests.command_line import refused
from tests.conftest import write_photos
from tests.data.test_splits import image_set

FOUR = image_set([0, 1] * 20, [name for name in "abcd" for _ in range(10)])


def setup(train_domains=(), data=FOUR):
    training = choose_training("scratch")
    return ExperimentConfig(data, BackboneConfig(), False, Validation(), training, train_domains=tuple(train_domains))


@pytest.mark.parametrize(
    ("held_out", "train", "expected"),
    [
        ((), (), "abcd"),
        (("c", "a"), (), "ca"),
        ((), ("a", "b"), "cd"),
        (("a", "d"), ("a", "b"), "ad"),
        ((), ("a", "b", "c", "d"), "abcd"),
        (("a", "a"), (), "a"),
    ],
)
def test_the_held_out_parts_follow_from_both_options(held_out, train, expected):
    assert chosen_parts(FOUR, held_out, train) == tuple((part,) for part in expected)


@pytest.mark.parametrize(
    ("held_out", "train", "message"),
    [
        (("e",), (), "unknown domain in --held-out: 'e'; allowed: a, b, c, d"),
        ((), ("aa",), "unknown domain in --train-domains: 'aa'; did you mean 'a'"),
        (("a",), ("a",), "--train-domains a leaves no training domain when a is held out"),
    ],
)
def test_parts_that_do_not_exist_or_leave_nothing_are_refused(held_out, train, message):
    with pytest.raises(InputError, match=message):
        chosen_parts(FOUR, held_out, train)


def test_folds_can_be_held_out_but_not_trained_on():
    data = image_set([0, 1] * 10)
    assert chosen_parts(data, ["fold 2"], ()) == (("fold 2",),)
    with pytest.raises(InputError, match="--train-domains needs data with domains"):
        chosen_parts(data, (), ["fold 1"])


def test_a_run_trains_on_the_named_domains_only_and_its_hash_says_so():
    (recipe,) = resolve(["erm"])
    all_others, some = (Run(setup(train), recipe, ("a",), 0) for train in ((), ("a", "b", "c")))
    assert (all_others.num_domains, some.num_domains) == (3, 2)
    assert set(FOUR.domains[some.fold().train]) == {1, 2}
    assert all_others.hash != some.hash
    assert Run(setup(("c", "b", "a")), recipe, ("a",), 0).hash == some.hash
    assert "train_domains" not in all_others.config


def test_pairs_for_leave_one_out_validation_contain_a_held_out_and_a_training_domain():
    (recipe,) = resolve(["erm"])

    def pairs(held_out, train):
        comparison = Comparison(setup(train), [recipe], 1, "leave_one_out_validation", [(part,) for part in held_out])
        return ["".join(run.held_out) for run in comparison.runs() if len(run.held_out) == 2]

    assert pairs("abcd", "") == ["ab", "ac", "ad", "bc", "bd", "cd"]
    assert pairs("a", "") == ["ab", "ac", "ad"]
    assert pairs("d", "ab") == ["ad", "bd"]


def test_the_recommendation_compares_with_the_baseline():
    values = {"erm": [[0.5, 0.52, 0.51]], "old": [[0.7, 0.72, 0.71]], "new": [[0.8, 0.83, 0.81]]}
    reason = recommend(values, baseline="old")[1]
    assert reason.startswith("new is significantly better than old on these images: +10.3 points")
    assert recommend(values)[1].startswith("new is significantly better than erm on these images: +30.3 points")


def test_compare_with_chosen_domains_and_baseline(afield, tmp_path):
    photos = write_photos(tmp_path / "photos", ("day", "dusk", "night"))
    shared = ("compare", "--data", photos, "--image-size", 16, "--epochs", 1, "--seeds", 2, "--out", tmp_path / "out")
    options = ("--held-out", "night", "--train-domains", "day", "--baseline", "arcface", "--recipes", "erm", "arcface")
    code, out, err = afield(*shared, *options)
    assert code == 0, err
    assert "held out in turn: night, with training on day" in err
    assert "vs arcface, these domains" in out
    records = read_records(tmp_path / "out")
    assert {(r.held_out, r.images["train"] + r.images["validation"]) for r in records} == {(("night",), 36)}
    summary = read_summary(tmp_path / "out" / "summary.json")
    assert summary.baseline == "arcface"
    assert summary.recipes["arcface"].vs_erm.mean == 0
    difference = summary.recipes["erm"].average.mean - summary.recipes["arcface"].average.mean
    assert summary.recipes["erm"].vs_erm.mean == pytest.approx(difference)
    assert list(read_json(tmp_path / "out" / "gallery.json")["samples"]) == ["night"]
    assert "vs. arcface" in (tmp_path / "out" / "report.html").read_text()


def test_a_baseline_that_is_not_compared_is_refused(afield, tmp_path):
    line = refused(afield, "compare", "--recipes", "erm", "--baseline", "arcface", "--out", tmp_path / "out")
    assert "--baseline arcface is none of the recipes to compare: erm" in line
    assert "unknown domain in --held-out: 'blak'; did you mean 'black'" in refused(
        afield, "compare", "--held-out", "blak", "--out", tmp_path / "out"
    )


def test_worst_errors_and_samples_show_one_image_of_a_group():
    rng = np.random.default_rng(0)
    data = image_set([0, 1] * 20, ["a"] * 20 + ["b"] * 20)
    data = replace(data, images=rng.integers(0, 255, (40, 8, 8, 3), dtype=np.uint8), groups=np.arange(40) // 5)
    wrong = 5.0 * np.eye(2, dtype=np.float32)[1 - data.labels[:20]] * np.linspace(1, 2, 20, dtype=np.float32)[:, None]
    run = Run(setup(data=data), resolve(["erm"])[0], ("a",), 0)
    found = [(run, "a", (wrong, np.arange(20)))]
    shown = gallery(data, found, "a")
    assert [error["path"] for error in shown["errors"]["a"]] == ["19", "14", "9", "4"]  # the worst of each group
    assert len(shown["samples"]["a"]) == 4
    everything = gallery(replace(data, groups=None), found, "a")
    assert [error["path"] for error in everything["errors"]["a"]] == [str(i) for i in range(19, 11, -1)]
    assert len(everything["samples"]["a"]) == 8


def test_domains_that_are_not_shown_share_a_confusion_matrix_and_have_no_review():
    data = image_set([0, 1] * 20, ["a"] * 10 + ["b"] * 10 + ["c"] * 10 + ["d"] * 10)
    right = 5.0 * np.eye(2, dtype=np.float32)[data.labels]
    found = [
        (Run(setup(data=data), resolve(["erm"])[0], (part,), 0), part, (right[rows], rows))
        for part, rows in zip("abcd", np.split(np.arange(40), 4), strict=True)
    ]
    analysis = analyze(data, found, "last", ("a", "c"))["recipes"]["erm"]
    five = [[5, 0], [0, 5]]
    assert analysis["confusion"] == {"a": five, "2 other domains": [[10, 0], [0, 10]], "c": five}
    assert list(analysis["review"]) == ["a", "c"]
    assert analysis == analyze(data, found, "last", "abcd")["recipes"]["erm"] | {
        "confusion": analysis["confusion"],
        "review": analysis["review"],
    }
    assert list(gallery(data, found, ("a", "c"))["samples"]) == ["a", "c"]


def weighted(weights, domains=None):
    count = len(weights)
    labels = np.zeros(count, dtype=np.int64)
    return Subset(labels[:, None], labels, np.arange(count), domains, weights=np.array(weights, dtype=np.float64))


def test_weights_say_how_often_an_image_is_drawn():
    source = weighted([0.5, 1, 2, 4, 0.5, 0])
    times = np.zeros(6)
    for seed in range(600):
        order = source.order(2, np.random.default_rng(seed))
        counts = np.bincount(order, minlength=6)
        expected = 6 * source.weights / source.weights.sum()
        assert len(order) == 6
        assert (np.abs(counts - expected) < 1).all()
        times += counts
    assert times / 600 == pytest.approx(6 * source.weights / 8, abs=0.1)


def test_equal_weights_give_every_image_once_and_no_weights_the_same_order_as_ever():
    assert sorted(weighted([0.1] * 999).order(10, np.random.default_rng(3))) == list(range(999))
    plain = replace(weighted([1] * 50), weights=None)
    assert (plain.order(10, np.random.default_rng(3)) == np.random.default_rng(3).permutation(50)).all()


def test_weights_hold_in_balanced_batches_and_in_rounds():
    domains = np.repeat([0, 1], 50)
    source = weighted([0, 2] * 25 + [2, 1] * 25, domains)
    rows = np.concatenate(balanced(source, 10, np.random.default_rng(0)))
    assert (rows[rows < 50] % 2 == 1).all()
    assert np.bincount(domains[rows]).tolist() == [50, 50]
    assert (rows[rows >= 50] % 2 == 0).mean() == pytest.approx(2 / 3, abs=0.1)
    rounds = np.concatenate(in_rounds(weighted([0, 1] * 10), 5, 8, np.random.default_rng(0)))
    assert np.bincount(rounds, minlength=20).tolist() == [0, 4] * 10


def test_images_of_weight_0_do_not_train():
    data = replace(FOUR, weights=np.array([0.0, 1.0] * 20))
    fold = Run(setup(data=data), resolve(["erm"])[0], ("a",), 0).fold()
    assert set((fold.train % 2).tolist()) == {1}
    with pytest.raises(InputError, match="no training image has a weight above 0"):
        Run(setup(data=replace(FOUR, weights=np.zeros(40))), resolve(["erm"])[0], ("a",), 0).fold()


def test_weights_and_a_memory_limit_exclude_each_other():
    data = replace(FOUR, images=np.zeros((40, 100, 100, 3), np.uint8), weights=np.ones(40))
    with pytest.raises(InputError, match="--memory cannot be combined with weights"):
        choose_memory(data, 1, 10**6)
    assert choose_memory(data, 1, 10**9) is None


def test_a_table_with_weights_trains(tmp_path):
    photos = write_photos(tmp_path / "photos")
    rows = [f"{p.relative_to(photos)},{p.parent.name},{i % 3}" for i, p in enumerate(sorted(photos.rglob("*.png")))]
    (photos / "t.csv").write_text("\n".join(["path,label,weight", *rows]))
    record = package.train(data=str(photos / "t.csv"), image_size=16, epochs=1, recipe="erm", out=tmp_path / "model")
    assert 40 <= record.images["train"] <= 48  # of 72 images, 24 have the weight 0 and about 7 validate
