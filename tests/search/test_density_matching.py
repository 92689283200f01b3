"""Fast AutoAugment: what is judged, what is proposed, what is seen, and that an interrupted search ends as another."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

import afield
from afield.augment import Policy
from afield.augment.policies.policy import OPERATIONS, PLAIN
from afield.data import load
from afield.records import read_json, read_jsonl
from afield.runs.callback import Callback
from afield.search import policy_search
from afield.search.candidates import propose
from afield.search.density_matching import Study, Trial, density_loss
from afield.search.folds import SearchFold, fold_runs, searched_images
from afield.search.policy_search import merged
from afield.search.settings import Search
from afield.training import Subset
from tests import forks
from tests.made_records import made_record

FABRIC = Fabric(accelerator="cpu")


class Luma(torch.nn.Module):
    """Knows each image by its luma, pixel by pixel, and has one more class for all else: saturation leaves it alone."""

    def __init__(self, images):
        super().__init__()
        self.images = self.luma(images / 255)

    def luma(self, images):
        return 255 * (images * torch.tensor([0.2989, 0.587, 0.114]).view(3, 1, 1)).sum(1).flatten(1)

    def logits(self, images):
        distance = (self.luma(images)[:, None] - self.images).square().mean(2)
        return torch.cat([-distance / 4, torch.full((len(images), 1), -5.0)], dim=1)


@pytest.fixture
def fold(tmp_path):
    """Ten images of gray noise with a little color, so that no saturation is cut, each a class of its own."""
    rng = np.random.default_rng(0)
    images = (rng.integers(70, 180, (10, 24, 24, 1)) + rng.integers(-25, 25, (10, 24, 24, 3))).astype(np.uint8)
    classifier = Luma(torch.from_numpy(images).permute(0, 3, 1, 2))
    return SearchFold(tmp_path, made_record(run="a"), classifier, Subset(images, np.arange(10), np.arange(10)))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def loss_of(fold, lines, draws=1):
    return density_loss(fold, Policy.parse(lines), draws, generator(), FABRIC)


def test_the_loss_is_the_mean_cross_entropy_on_the_augmented_images(fold):
    images = torch.from_numpy(fold.unseen.inputs).permute(0, 3, 1, 2)
    policy = Policy.parse(["rotate 0.5 20, invert 0.5"])
    logits = fold.classifier.logits(policy(images, generator=generator()) / 255)
    expected = -logits.double().log_softmax(1).diagonal().mean()
    assert loss_of(fold, policy.lines) == pytest.approx(expected.item(), rel=1e-5)


def test_of_several_draws_the_least_loss_of_each_image_counts(fold):
    images = torch.from_numpy(fold.unseen.inputs).permute(0, 3, 1, 2)
    policy, drawn = Policy.parse(["rotate 0.5 20, invert 0.5"]), generator()
    losses = [
        -fold.classifier.logits(policy(images, generator=drawn) / 255).log_softmax(1).diagonal() for _ in range(3)
    ]
    assert loss_of(fold, policy.lines, draws=3) == pytest.approx(torch.stack(losses).amin(0).mean().item(), rel=1e-5)
    assert loss_of(fold, policy.lines, draws=3) < loss_of(fold, policy.lines)


def test_a_classifier_that_saturation_leaves_alone_judges_saturation_best(fold):
    losses = {
        name: loss_of(fold, [f"{name} 1.0" + ("" if name in PLAIN else " 30")])
        for name in OPERATIONS
        if name != "identity"
    }
    assert losses["color"] == pytest.approx(loss_of(fold, ["identity 0.0"]), abs=0.01) == pytest.approx(0, abs=0.02)
    assert min(loss for name, loss in losses.items() if name != "color") > 1


def test_the_search_finds_the_operation_that_makes_images_what_the_classifier_knows(fold):
    negatives = dataclasses.replace(fold.unseen, inputs=255 - fold.unseen.inputs)
    study = Study(dataclasses.replace(fold, unseen=negatives), 0, Search(trials=80, sub_policies=1, top=1, draws=1))
    losses = [study.step(FABRIC) for _ in range(80)]
    assert np.median(losses[20:]) < np.median(losses[:20])
    assert min(losses) < 0.1 * loss_of(study.fold, ["identity 0.0"])
    (steps,) = merged([study]).sub_policies
    inverting = [s for s in steps if s.operation == "invert" or (s.operation == "solarize" and s.magnitude >= 28)]
    assert max(step.probability for step in inverting) > 0.7


def test_the_next_candidate_is_decided_by_those_before_and_the_seed_alone():
    tried: list[tuple[Policy, float]] = []
    for trial in range(15):
        candidate = propose(tried, 2, seed=trial)
        assert propose(list(tried), 2, seed=trial) == candidate
        assert [len(sub_policy) for sub_policy in candidate.sub_policies] == [2, 2]
        assert Policy.parse(candidate.lines) == candidate
        tried.append((candidate, float(trial % 4)))
    assert len({candidate for candidate, _ in tried}) == 15
    assert propose(tried, 2, seed=3) != propose(tried[:-1], 2, seed=3)


def test_best_candidates_of_all_studies_are_merged_each_sub_policy_once(fold):
    search = Search(trials=3, top=2)
    first, second = Study(fold, 0, search), Study(fold, 1, search)
    first.trials = [
        Trial(("invert 0.1", "invert 0.2"), 3.0, 0.0),
        Trial(("invert 0.3",), 1.0, 0.0),
        Trial(("invert 0.4",), 2.0, 0.0),
        Trial(("invert 0.5",), 0.0, 0.0),  # of a search that asked for more trials
    ]
    second.trials = [Trial(("invert 0.4", "invert 0.6"), 9.0, 0.0)]
    assert merged([first, second]).lines == ["invert 0.3", "invert 0.4", "invert 0.6"]


def test_folds_share_the_images_by_class_and_domain_and_leave_out_what_is_held_out():
    data = load("digits", image_size=16)
    held = data.domain_names[1]
    seen = searched_images(data, [held])
    assert len(seen) == (data.domains != 1).sum()
    assert not np.isin(seen.digests, data.digests[data.domains == 1]).any()
    setup = afield.commands.Train(image_size=16).load_setup(Callback())
    runs = fold_runs(type(setup)(seen, setup.backbone, False, setup.validation, setup.training), None, 5, seed=0)
    unseen = np.stack([run.setup.data.given == 2 for run in runs])
    assert (unseen.sum(0) == 1).all()
    for domain in np.unique(seen.domains):
        for label in range(10):
            counts = unseen[:, (seen.domains == domain) & (seen.labels == label)].sum(1)
            assert counts.max() - counts.min() <= 1


def test_a_given_test_set_takes_no_part(arrays):
    data = load(str(arrays))
    seen = searched_images(data, [])
    assert len(seen) == (data.given == 0).sum() == 60
    assert all(path.startswith("train/") for path in seen.paths)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Three classes of colors with noise: 60 training images and 12 test images of 12 pixels."""
    rng = np.random.default_rng(0)
    labels = np.arange(72) % 3
    colors = np.array([(200, 60, 40), (40, 180, 60), (50, 70, 210)])[labels][:, None, None]
    images = (colors + rng.normal(0, 60, (72, 12, 12, 3))).clip(0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("arrays") / "colors.npz"
    np.savez(path, train_images=images[:60], train_labels=labels[:60], test_images=images[60:], test_labels=labels[60:])
    return path


TINY = ("--epochs", 1, "--folds", 2, "--searches", 2, "--trials", 8, "--sub-policies", 2, "--top", 2, "--draws", 2)


@pytest.fixture(scope="module")
def whole_search(arrays, tmp_path_factory):
    """The folder of a search that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    search(arrays, folder)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(whole_search):
    return Policy.read(whole_search / "policy.json")


def search(data, out, **options):
    names = {str(name)[2:].replace("-", "_"): value for name, value in zip(TINY[::2], TINY[1::2], strict=True)}
    return afield.augment_search(data=str(data), out=out, **{**names, **options})


def test_a_search_leaves_a_policy_with_its_cost_and_its_story(arrays, tmp_path, uninterrupted):
    found = search(arrays, tmp_path / "out")
    assert Policy.read(tmp_path / "out" / "policy.json") == found == uninterrupted
    assert len(found.sub_policies) == 2 * 2 * 2 * 2  # folds, searches, top, sub-policies; none is double
    origin = read_json(tmp_path / "out" / "policy.json")["origin"]
    assert origin == found.origin
    assert origin["trials"] == 2 * 2 * 8
    trials = [line for file in (tmp_path / "out").glob("folds/*/trials-*.jsonl") for line in read_jsonl(file)]
    assert origin["seconds"]["trials"] == pytest.approx(sum(line["seconds"] for line in trials), abs=1e-3)
    assert origin["seconds"]["all"] > origin["seconds"]["trials"] > 0
    assert [fold["images"] for fold in origin["folds"]] == [30, 30]
    best = [min(line["loss"] for line in read_jsonl(file)) for file in (tmp_path / "out").glob("folds/*/trials-*")]
    assert sorted(best) == sorted(loss for fold in origin["folds"] for loss in fold["best_losses"])
    assert str(tmp_path) not in (tmp_path / "out" / "policy.json").read_text()


def test_killed_at_random_moments_the_same_search_finds_the_same_policy(arrays, tmp_path, uninterrupted):
    def progress():
        kept = [path for name in ("record.json", "trials-*.jsonl") for path in tmp_path.glob(f"folds/*/{name}")]
        return {(path, path.stat().st_size) for path in kept}

    moments, deaths = random.Random(0), 0
    for _ in range(8):
        before = progress()
        process = forks.start(search, arrays, tmp_path)
        while process.is_alive() and progress() <= before:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.02))
        process.kill()
        process.join()
        deaths += process.exitcode == -signal.SIGKILL
    assert deaths >= 3
    assert search(arrays, tmp_path) == uninterrupted


def test_more_trials_go_on_from_those_that_are_there(arrays, tmp_path, uninterrupted):
    early = search(arrays, tmp_path, trials=3)
    files = {file: read_jsonl(file) for file in tmp_path.glob("folds/*/trials-*.jsonl")}
    assert search(arrays, tmp_path) == uninterrupted != early
    assert all(read_jsonl(file)[:3] == lines and len(read_jsonl(file)) == 8 for file, lines in files.items())
    assert search(arrays, tmp_path, trials=3) == early


@pytest.mark.parametrize("damage", ["digit", "cut", "empty", "junk"])
def test_damaged_trials_are_tried_again(arrays, tmp_path, uninterrupted, whole_search, damage):
    shutil.copytree(whole_search, tmp_path / "out")
    file = sorted((tmp_path / "out").glob("folds/*/trials-*.jsonl"))[1]
    text = file.read_text()
    place = text.index(',"policy"', len(text) // 2) - 6  # a late digit of a loss
    changed = {
        "digit": f"{text[:place]}{(int(text[place]) + 1) % 10}{text[place + 1 :]}",
        "cut": text[: len(text) // 2],
        "empty": "\n",
        "junk": '{"policy": 3}\n',
    }[damage]
    file.write_text(changed)
    (tmp_path / "out" / "policy.json").unlink()
    if damage == "empty":  # as if nothing had been tried
        assert search(arrays, tmp_path / "out") == uninterrupted
        return
    with pytest.warns(UserWarning, match=rf"{file.name}.*; its candidates are tried again"):
        assert search(arrays, tmp_path / "out") == uninterrupted
    assert [line["loss"] for line in read_jsonl(file)] == [json.loads(line)["loss"] for line in text.splitlines()]


def test_when_the_time_is_over_the_best_so_far_is_written_and_the_same_command_goes_on(
    arrays, tmp_path, uninterrupted, monkeypatch, afield
):
    code, _, err = afield("augment", "search", "--data", arrays, "--out", tmp_path, *TINY, "--time-budget", "0s")
    assert code == 2
    assert "--time-budget ended before the first candidates were tried (1 of 2 classifiers are trained)" in err
    ticks = iter(range(1000))
    monkeypatch.setattr(policy_search.time, "monotonic", lambda: next(ticks))
    partial = search(arrays, tmp_path, time_budget="20s")
    monkeypatch.undo()
    assert Policy.read(tmp_path / "policy.json") == partial
    files = [read_jsonl(file) for file in tmp_path.glob("folds/*/trials-*.jsonl")]
    assert 4 <= sum(map(len, files)) == partial.origin["trials"] < 32
    assert max(map(len, files)) - min(map(len, files)) <= 1  # all searches are equally far
    assert search(arrays, tmp_path) == uninterrupted


def test_what_was_found_trains_a_model(arrays, tmp_path, uninterrupted, afield):
    uninterrupted.write(tmp_path / "policy.json")
    shared = ("train", "--data", arrays, "--epochs", 1, "--out", tmp_path / "model")
    code, _, err = afield(*shared, "--augment", f"crop+{tmp_path / 'policy.json'}")
    assert code == 0, err
    config = json.loads((tmp_path / "model" / "record.json").read_text())["config"]
    assert config["training"]["augment"] == f"crop+sha256:{uninterrupted.digest}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--folds", 1), "--folds must lie between 2 and 100, got 1"),
        (("--trials", 0), "--trials must lie between 1 and 100000, got 0"),
        (("--sub-policies", 0), "--sub-policies must lie between 1"),
        (("--seed", -1), "--seed must lie between 0"),
        (("--folds", 61), "--folds 61 needs at least 61 images, got 60"),
        (("--time-budget", "9"), "--time-budget must be a duration such as 90s, 9m or 2h, got '9'"),
        (("--held-out", "night"), "unknown domain to hold out 'night'; allowed: none"),
        (("--recipe", "arcfase"), "did you mean 'arcface'"),
        (("--freeze",), "a policy search needs images; --freeze uses features only"),
        (("--devices", 2), "--devices must be 1 for a search"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(afield, arrays, tmp_path, options, expected):
    code, _, err = afield("augment", "search", "--data", arrays, "--out", tmp_path / "out", *options)
    assert code == 2
    assert expected in err
    assert not list((tmp_path / "out").glob("folds/*/record.json"))


def test_without_optuna_the_search_says_what_to_install(afield, arrays, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = afield("augment", "search", "--data", arrays, "--out", tmp_path / "out")
    assert (code, err.strip()) == (2, "afield: the search needs Optuna: pip install 'afield[search]'")


def test_domains_that_are_held_out_are_in_the_story(photos, tmp_path):
    found = search(photos, tmp_path / "p.json", image_size=12, held_out=("night",), searches=1, trials=1)
    assert found.origin["data"] == {**found.origin["data"], "name": "photos", "held_out": ["night"]}
    assert [fold["images"] for fold in found.origin["folds"]] == [18, 18]
    assert (Path(tmp_path) / "p.search" / "folds").is_dir()
