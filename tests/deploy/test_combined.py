"""`afield train` and `afield compare` with recipes that combine runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import afield as package
from afield.deploy.export import TOLERANCE, export_model
from afield.models.resnet8 import ResNet8
from afield.records import read_records
from tests.command_line import refused
from tests.killed import command

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
MEMBERS = ("--set", "combination_options.members=2")
FAST = ("--image-size", 16, "--epochs", 2, "--batch-size", 16)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    torch.save(ResNet8().state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_train_writes_an_ensemble_of_averages(afield, photos, tmp_path):
    out = tmp_path / "out"
    words = ("train", "--data", photos, *FAST, "--backbone", "resnet8", "--recipe", "eoa", *MEMBERS, "--out", out)
    code, _, err = afield(*words)
    assert code == 0, err
    model, members = package.load(out), [package.load(out / f"member-{number}") for number in range(2)]
    single = [(each.logits(IMAGES) / each.confidence.temperature).double().softmax(dim=1) for each in members]
    assert (single[0] - single[1]).abs().max() > 1e-3
    torch.testing.assert_close(
        model.probabilities(model.logits(IMAGES)).double(), (single[0] + single[1]) / 2, atol=1e-6, rtol=0
    )
    assert [each.config["recipe"]["name"] for each in members] == ["sma", "sma"]
    assert [each.config.get("member", 0) for each in members] == [0, 1]
    record = json.loads((out / "record.json").read_text())
    assert record["details"]["chosen"] == [0, 1]
    assert export_model(model, tmp_path / "model.onnx").largest_difference < TOLERANCE
    before = {file: file.stat().st_mtime_ns for file in out.rglob("*.safetensors")}
    assert afield(*words)[0] == 0
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.safetensors")} == before


def test_train_writes_the_average_of_runs_as_one_network(afield, photos, weights, tmp_path):
    words = ("--data", photos, *FAST, "--backbone", "resnet8", "--weights", weights, *MEMBERS)
    words = (*words, "diwa.combination_options.draw=false")
    code, _, err = afield("train", *words, "--recipe", "diwa", "--out", tmp_path / "soup")
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "soup").iterdir() if path.is_dir()) == []
    model = package.load(tmp_path / "soup")
    assert model.config["recipe"]["combination"] == "soup"
    assert export_model(model, tmp_path / "model.onnx").largest_difference < TOLERANCE


def test_a_killed_training_of_members_ends_as_one_that_was_not(photos, tmp_path):
    words = ("train", "--data", photos, *FAST, "--freeze", "--backbone", "resnet8", "--recipe")
    for recipe in ("eoa", "greedy_soup"):
        folders = [tmp_path / recipe / name / "out" for name in ("whole", "killed")]
        for at in (9, 30):
            end = command(folders[1].parent, *words, recipe, *MEMBERS, "--out", folders[1], watched="out", at=at)
            assert end.killed, end.said
        for folder in folders:
            end = command(folder.parent, *words, recipe, *MEMBERS, "--out", folder)
            assert end.code == 0, end.said
        first, second = (json.loads((folder / "record.json").read_text()) for folder in folders)
        for each in (first, second):
            del each["duration_s"]
        assert first == second
        whole, killed = (package.load(folder) for folder in folders)
        assert torch.equal(whole.logits(IMAGES), killed.logits(IMAGES))


def test_combined_recipes_are_rows_of_a_comparison(afield, photos, tmp_path):
    recipes, out = ("erm", "probe_start", "eoa", "diwa", "greedy_soup"), tmp_path / "out"
    members = [f"{recipe}.combination_options.members=2" for recipe in recipes[2:]]
    words = ("compare", "--data", photos, *FAST, "--freeze", "--backbone", "resnet8", "--seeds", 1)
    words = (*words, "--recipes", *recipes, "--set", *members, "--out", out)
    code, printed, err = afield(*words)
    assert code == 0, err
    assert all(f" {recipe} " in printed for recipe in recipes), printed
    records = read_records(out)
    assert len(records) == 2 * len(recipes)
    rows = {(record.recipe, record.unseen): record for record in records}
    for unseen in ("day", "night"):
        assert rows["diwa", unseen].details["members"][0] == rows["probe_start", unseen].run
        assert rows["diwa", unseen].details["members"] == rows["greedy_soup", unseen].details["members"]
    # For each domain: erm, 2 x sma, 2 x probe_start, and the 3 combined ones
    assert len(list((out / "runs").iterdir())) == 2 * (1 + 2 + 2 + 3)


def test_a_comparison_without_a_pretrained_backbone_is_refused_before_training(afield, photos, tmp_path):
    words = (
        "compare",
        "--data",
        photos,
        *FAST,
        "--backbone",
        "resnet8",
        "--recipes",
        "diwa",
        "--out",
        tmp_path / "out",
    )
    assert "recipe 'diwa' starts from a linear probe, which needs a pretrained backbone" in refused(afield, *words)
