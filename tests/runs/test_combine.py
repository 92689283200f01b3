"""Runs that combine others: their members, the start that these share, and the results by hand."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from afield.combinations import average
from afield.comparison.grid import Comparison
from afield.data import Validation, load
from afield.errors import InputError
from afield.fabric import Fabric
from afield.models import BackboneConfig
from afield.models.resnet8 import ResNet8
from afield.recipes import resolve
from afield.records import seed_for
from afield.runs.config import ExperimentConfig, PartialTraining
from afield.runs.execute import DONE, PREDICTIONS, RECORD, WEIGHTS, execute
from afield.runs.features import stored_features
from afield.runs.members import check_combination, members_of, probe_of, set_head
from afield.runs.run import Run, prepare
from afield.training import DivergedError, TrainConfig, checkpoint, predict

FABRIC = Fabric(accelerator="cpu", devices=1)
THREE = ("combination_options.members=3",)


@pytest.fixture
def setup(photos, tmp_path):
    """Photographs, and a network with weights in a file."""
    torch.manual_seed(0)
    torch.save(ResNet8().state_dict(), tmp_path / "weights.pth")
    backbone = BackboneConfig("resnet8", weights=str(tmp_path / "weights.pth"))
    training = TrainConfig(epochs=2, batch_size=16, learning_rate=0.05)
    return ExperimentConfig(load(str(photos), image_size=16), backbone, False, Validation(fraction=0.4), training)


def frozen(setup):
    return dataclasses.replace(setup, freeze=True)


def run_of(setup, recipe, seed=0, overrides=THREE):
    (found,) = resolve([recipe], overrides if resolve([recipe])[0].combination else ())
    return Run(setup, found, ("night",), seed)


def finish(run, folder):
    return execute(run, folder / run.hash, FABRIC, features=stored_features(run.setup, "none", FABRIC))


def logits_of(folder, run):
    return checkpoint.below("best", checkpoint.load(folder / run.hash / PREDICTIONS)[0])


def test_members_share_split_and_start_and_differ_in_all_else(setup):
    first, second, third = members_of(run_of(setup, "diwa"))
    assert [each.init_seed for each in (first, second, third)] == [0, 0, 0]
    assert [each.training_seed for each in (first, second)] == [0, seed_for("member", 0, 1)]
    assert second.training_seed != third.training_seed
    assert first.fold().hash(setup.data) == second.fold().hash(setup.data)
    assert "learning_rate" in second.recipe.training
    assert all(each.keep_weights for each in (first, second, third))
    other = members_of(run_of(setup, "diwa", seed=1))
    assert not {each.training_seed for each in other} & {each.training_seed for each in (first, second, third)}
    ensemble = members_of(run_of(setup, "eoa"))
    assert len({each.init_seed for each in ensemble}) == 3
    assert not any(each.keep_weights for each in ensemble)
    assert ensemble[1].label == "sma, without night, seed 0, member 1"


@pytest.mark.parametrize(
    ("name", "single"),
    [("eoa", "sma"), ("diwa", "probe_start"), ("greedy_soup", "probe_start"), ("eoa+coral", "sma+coral")],
)
def test_member_0_is_the_single_run_of_the_recipe_without_the_combination(setup, name, single):
    assert members_of(run_of(setup, name))[0].hash == run_of(setup, single).hash
    assert members_of(run_of(setup, single)) == []


def test_both_soups_and_the_rows_with_other_backbones_have_the_same_members(setup):
    uniform, greedy = (members_of(run_of(setup, name)) for name in ("diwa", "greedy_soup"))
    assert [each.hash for each in uniform] == [each.hash for each in greedy]
    recipes = resolve(["eoa"], THREE)
    (run,) = Comparison(setup, recipes, 1, held_out=(("night",),), setups={"small": setup}).runs()
    assert members_of(run)[0].recipe.name == "sma@small"


def test_hashes_of_other_runs_stay(setup):
    config = run_of(setup, "erm").config
    assert "member" not in config
    assert not {"start", "combination", "combination_options"} & set(config["recipe"])


def test_the_probabilities_of_eoa_are_the_mean_of_those_of_its_members(setup, tmp_path):
    run = run_of(setup, "eoa")
    record = finish(run, tmp_path)
    found, members = logits_of(tmp_path, run), [logits_of(tmp_path, each) for each in members_of(run)]
    assert (members[0]["test/night"] - members[1]["test/night"]).abs().max() > 0.01
    for part in ("validation", "test/night"):
        mean = sum(each[part].double().softmax(dim=1) for each in members) / 3
        torch.testing.assert_close(found[part].double().softmax(dim=1), mean, atol=1e-6, rtol=0)
    assert record.details["chosen"] == [0, 1, 2]
    assert record.details["members"] == [each.hash for each in members_of(run)]
    (epoch,) = record.epochs
    right = found["test/night"].argmax(dim=1).numpy() == setup.data.labels[run.fold().tests["night"]]
    assert epoch.test["night"]["accuracy"] == right.mean()
    assert epoch.train_loss is None


@pytest.mark.parametrize("name", ["diwa", "greedy_soup"])
def test_a_soup_predicts_with_the_average_of_the_weights_that_it_chose(setup, tmp_path, name):
    run, kept = run_of(setup, name), {}
    record = execute(
        run, tmp_path / run.hash, FABRIC, on_trained=lambda classifier, progress: kept.update(progress.best)
    )
    members = members_of(run)
    states = [checkpoint.load(tmp_path / each.hash / WEIGHTS)[0] for each in members]
    expected = average([states[number] for number in record.details["chosen"]])
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[each], expected[each]) for each in expected)
    assert name == "greedy_soup" or record.details["chosen"] == [0, 1, 2]
    _, parts, classifier = prepare(run, None, FABRIC)
    classifier.load_state_dict(expected)
    for part, source in parts.watched.items():
        logits = predict(classifier, source, batch_size=16, fabric=FABRIC)
        torch.testing.assert_close(logits_of(tmp_path, run)[part], logits, atol=1e-5, rtol=1e-5)
    accuracies = [json.loads((tmp_path / each.hash / RECORD).read_text()) for each in members]
    best = [max(epoch["validation"]["accuracy"] for epoch in each["epochs"]) for each in accuracies]
    assert record.details["validation"] == best
    assert record.duration_s >= sum(each["duration_s"] for each in accuracies)


def test_all_members_start_from_the_head_of_one_probe(setup, tmp_path):
    runs = members_of(run_of(setup, "diwa"))
    probe = probe_of(runs[1])
    assert probe == probe_of(runs[0])
    assert (probe.setup.freeze, probe.setup.partial, probe.seed, probe.member) == (True, None, 0, 0)
    finish(probe, tmp_path)
    head = checkpoint.load(tmp_path / probe.hash / WEIGHTS)[0]
    states = []
    for run in runs:
        _, _, classifier = prepare(run, None, FABRIC)
        set_head(classifier, head)
        states.append(classifier.state_dict())
        assert torch.equal(classifier.objective.head.weight, head["objective.head.weight"])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert probe_of(run_of(frozen(setup), "probe_start")) is None
    assert probe_of(run_of(setup, "erm")) is None


def test_the_first_step_starts_at_the_probe(setup, tmp_path):
    still = dataclasses.replace(setup, training=TrainConfig(epochs=1, batch_size=16, learning_rate=1e-12))
    run = dataclasses.replace(run_of(still, "probe_start"), keep_weights=True)
    record = finish(run, tmp_path)
    probe = probe_of(run)
    head, found = (checkpoint.load(tmp_path / each.hash / WEIGHTS)[0] for each in (probe, run))
    torch.testing.assert_close(found["objective.head.weight"], head["objective.head.weight"])
    assert record.duration_s > json.loads((tmp_path / probe.hash / RECORD).read_text())["duration_s"]


@pytest.mark.parametrize("how", ["freeze", "train_from"])
def test_soups_and_ensembles_work_on_stored_features(setup, tmp_path, how):
    changes = {"freeze": True} if how == "freeze" else {"partial": PartialTraining("stages.2")}
    setup = dataclasses.replace(setup, **changes)
    for name in ("eoa", "diwa"):
        record = finish(run_of(setup, name), tmp_path)
        assert len(record.epochs) == 1
        assert np.isfinite(record.epochs[0].test["night"]["nll"])


def test_the_average_of_linear_heads_has_the_mean_of_their_logits(setup, tmp_path):
    run = run_of(frozen(setup), "diwa")
    finish(run, tmp_path)
    members = [logits_of(tmp_path, each)["test/night"] for each in members_of(run)]
    torch.testing.assert_close(logits_of(tmp_path, run)["test/night"], sum(members) / 3, atol=1e-5, rtol=1e-5)


def test_what_is_finished_is_not_trained_again(setup, tmp_path, monkeypatch):
    run = run_of(frozen(setup), "diwa")
    for each in members_of(run):
        finish(each, tmp_path)
    monkeypatch.setattr("afield.runs.execute.fit", None)
    first = finish(run, tmp_path)
    assert finish(run_of(frozen(setup), "greedy_soup"), tmp_path).details["members"] == first.details["members"]
    assert finish(run, tmp_path) == first


def test_a_finished_run_without_weights_is_trained_again_to_keep_them(setup, tmp_path):
    single = run_of(frozen(setup), "probe_start")
    before = finish(single, tmp_path)
    assert not (tmp_path / single.hash / WEIGHTS).exists()
    with pytest.warns(UserWarning, match="were not kept, as --keep-checkpoints 1 does; this run is done again"):
        finish(run_of(frozen(setup), "diwa"), tmp_path)
    assert (tmp_path / single.hash / WEIGHTS).exists()
    after = finish(single, tmp_path)
    assert after.epochs == before.epochs
    kept = Comparison(frozen(setup), resolve(["erm", "probe_start", "diwa"], ["diwa.combination_options.members=3"]), 1)
    assert [each.keep_weights for each in kept.runs()[:3]] == [False, True, False]


def test_a_checkpoint_that_a_comparison_kept_is_enough(setup, tmp_path, monkeypatch):
    run = run_of(frozen(setup), "diwa")
    for each in members_of(run):
        finish(each, tmp_path)
    expected, folder = finish(run, tmp_path), tmp_path / members_of(run)[0].hash
    best = checkpoint.load(folder / PREDICTIONS)[1]["best_epoch"]
    (folder / "checkpoints").mkdir()
    (folder / WEIGHTS).rename(folder / "checkpoints" / f"epoch-{best + 1:04d}.safetensors")
    (tmp_path / run.hash / DONE).unlink()
    monkeypatch.setattr("afield.runs.execute.fit", None)
    assert finish(run, tmp_path).epochs == expected.epochs


@pytest.mark.parametrize(
    ("recipe", "overrides", "message"),
    [
        ("erm", ["combination=soup"], "averages the weights of runs, which must share their start: set start=probe"),
        ("erm", ["combination=soop"], "unknown combination 'soop'; did you mean 'soup'"),
        ("erm", ["start=prob"], "unknown start in recipe 'erm': 'prob'; did you mean 'probe'"),
        ("erm", ["combination_options.members=3"], "has combination_options, but no combination"),
        ("eoa", ["combination_options.draw=false"], "unknown option of combination ensemble in recipe eoa: 'draw'"),
        ("diwa", ["combination_options.members=1"], "members must be a whole number between 2 and 100, got 1"),
    ],
)
def test_combinations_that_cannot_work_are_refused(setup, recipe, overrides, message):
    (found,) = resolve([recipe], overrides)
    with pytest.raises(InputError, match=message):
        check_combination(setup, found)


def test_a_probe_needs_a_pretrained_backbone(setup):
    scratch = dataclasses.replace(setup, backbone=BackboneConfig("resnet8"))
    with pytest.raises(InputError, match="'diwa' starts from a linear probe, which needs a pretrained backbone"):
        check_combination(scratch, resolve(["diwa"])[0])
    check_combination(scratch, resolve(["eoa"])[0])
    check_combination(frozen(scratch), resolve(["diwa"])[0])


def test_a_run_diverges_if_a_member_does(setup, tmp_path, monkeypatch):
    def diverges(*arguments, **options):
        raise DivergedError("the loss became nan")

    monkeypatch.setattr("afield.runs.execute.fit", diverges)
    run = run_of(frozen(setup), "diwa")
    with pytest.raises(DivergedError, match="became nan"):
        finish(run, tmp_path)
    single = dataclasses.replace(members_of(run)[0], may_diverge=True)
    assert finish(single, tmp_path).epochs == ()
    assert finish(dataclasses.replace(run, may_diverge=True), tmp_path).details == {"diverged": True}


def test_runs_that_need_others_are_refused_in_several_processes(setup, tmp_path):
    fabric = SimpleNamespace(world_size=2, device=FABRIC.device)
    run = run_of(frozen(setup), "eoa")
    with pytest.raises(InputError, match="recipe 'eoa' trains several runs in one process: --devices must be 1"):
        execute(run, tmp_path / run.hash, fabric, features=stored_features(run.setup, "none", FABRIC))
