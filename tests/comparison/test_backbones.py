"""Backbones compared as recipes are, and ranked by their features."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from afield.comparison import backbones
from afield.comparison.backbones import rank, read_backbones, some_images
from afield.comparison.grid import Comparison
from afield.data import Validation, load
from afield.errors import InputError
from afield.evaluation.transferability import h_score, log_me
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.models.weights import PACKAGE
from afield.recipes import resolve
from afield.records import read_records, read_summary
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.features import stored_features
from tests.command_line import refused
from tests.comparison.test_chosen_parts import setup


def test_backbones_have_the_given_weights_and_labels_that_differ():
    assert read_backbones(["a=x", "b"], "none") == {"a": ("a", "x"), "b": ("b", "none")}
    assert read_backbones(["a=x.pth", "a"], "none") == {"a=x.pth": ("a", "x.pth"), "a=none": ("a", "none")}
    with pytest.raises(InputError, match="--backbones: a with weights none is given twice"):
        read_backbones(["a", "a=none"], "none")


def test_every_recipe_is_trained_with_every_backbone():
    setups = {name: dataclasses.replace(setup(), backbone=BackboneConfig(name)) for name in ("resnet8", "lenet")}
    comparison = Comparison(setup(), resolve(["erm", "irm"]), 2, held_out=(("a",),), setups=setups)
    runs = comparison.runs()
    rows = ["erm@resnet8", "irm@resnet8", "erm@lenet", "irm@lenet"]
    assert [(run.recipe.name, run.seed) for run in runs] == [(row, seed) for seed in (0, 1) for row in rows]
    assert all(run.config["backbone"]["name"] == run.recipe.name.partition("@")[2] for run in runs)
    assert {run.recipe.algorithm for run in runs} == {"erm", "irm"}
    assert len({run.hash for run in runs}) == 8


def test_the_ranking_scores_the_features_that_training_would_see(monkeypatch, photos):
    data = load(str(photos), image_size=16)
    setups = {
        name: ExperimentConfig(data, BackboneConfig(name), True, Validation(), choose_training("frozen"))
        for name in ("resnet8", "resnet8_instance")
    }
    fabric = make_fabric("cpu", "32")
    monkeypatch.setattr(backbones, "IMAGES", 50)
    rows = some_images(data)
    assert len(rows) == len(set(rows)) == 50
    found = rank(setups, fabric)
    assert [row["log_me"] for row in found] == sorted((row["log_me"] for row in found), reverse=True)
    for row in found:
        features = np.asarray(stored_features(setups[row["backbone"]], "none", fabric))[rows]
        assert row["log_me"] == pytest.approx(log_me(features, data.labels[rows]), abs=1e-4)
        assert row["h_score"] == pytest.approx(h_score(features, data.labels[rows]), abs=1e-3)


def test_backbones_are_rows_of_a_comparison_and_the_first_is_the_baseline(afield, photos, tmp_path):
    out = tmp_path / "out"
    options = ["compare", "--data", photos, "--image-size", 16, "--freeze", "--recipes", "erm", "--seeds", 1]
    options += ["--epochs", 1, "--backbones", "resnet8", "resnet8_instance"]
    code, dry, err = afield(*options, "--out", out, "--dry-run")
    assert code == 0, err
    assert "resnet8_instance: LogME " in dry
    assert not out.exists()
    code, _, err = afield(*options, "--out", out)
    assert code == 0, err
    summary = read_summary(out / "summary.json")
    assert list(summary.recipes) == ["erm@resnet8", "erm@resnet8_instance"]
    assert summary.baseline == "erm@resnet8"
    found = {record.recipe: record.config["backbone"]["name"] for record in read_records(out)}
    assert found == {"erm@resnet8": "resnet8", "erm@resnet8_instance": "resnet8_instance"}
    page = (out / "report.html").read_text()
    assert "resnet8, frozen, weights: none; resnet8_instance, frozen, weights: none" in page
    told = refused(afield, *options, "--out", tmp_path / "other", "--baseline", "irm")
    assert "--baseline irm is none of the recipes to compare: erm@resnet8, erm@resnet8_instance" in told


def test_each_backbone_is_checked_before_anything_is_trained(afield, photos, tmp_path):
    told = refused(
        afield,
        *(
            "compare",
            "--data",
            photos,
            "--image-size",
            16,
            "--backbones",
            "resnet8",
            f"tf_efficientnet_lite1={PACKAGE}",
        ),
        *("--recipes", "erm", "--out", tmp_path / "out"),
    )
    assert f"--weights {PACKAGE} fits --backbone tf_efficientnet_lite0, not 'tf_efficientnet_lite1'" in told
