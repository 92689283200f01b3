"""Ensembles: the mean of probabilities, and a folder that commands take as a model."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import afield as package
from afield.deploy.ensemble import write_ensemble
from afield.errors import InputError
from tests.command_line import refused

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def ensemble(photo_model, photo_arcface, tmp_path):
    return write_ensemble([photo_model, photo_arcface], tmp_path / "both")


def test_probabilities_are_the_mean_of_those_of_the_models(ensemble, photo_model, photo_arcface):
    model, members = package.load(ensemble), [package.load(each) for each in (photo_model, photo_arcface)]
    temperatures = [each.confidence.temperature for each in members]
    assert temperatures[0] != temperatures[1]
    single = [(each.logits(IMAGES).double() / t).softmax(dim=1) for each, t in zip(members, temperatures, strict=True)]
    assert (single[0] - single[1]).abs().max() > 0.01
    assert torch.allclose(model.probabilities(model.logits(IMAGES)).double(), (single[0] + single[1]) / 2, atol=1e-6)
    features = torch.cat([each.features(IMAGES) for each in members], dim=1)
    assert torch.allclose(model.features(IMAGES), features, atol=1e-5)
    features, probabilities = model.classify(IMAGES)
    assert features.shape == (6, 128)
    assert torch.allclose(probabilities, model.probabilities(model.logits(IMAGES)), atol=1e-6)
    assert model.confidence.threshold(0.95) is None
    assert np.array_equal(model.trained_images, members[0].trained_images)  # of the same photos


def test_commands_take_an_ensemble_as_a_model(afield, ensemble, photo_model, tmp_path):
    photos = photo_model.parent / "photos"
    code, printed, err = afield("evaluate", ensemble, "--data", photos, "--json")
    assert code == 0, err
    assert json.loads(printed)["all"]["n"] == 72
    code, _, err = afield("predict", ensemble, photos / "day", "--out", tmp_path / "t.csv", "--threshold", 0.5)
    assert code == 0, err
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 37
    labels = tmp_path / "labels.csv"
    words = ("--no-page", "--count", 5, "--audit", 3, "--near-duplicates", "--csv", labels)
    code, _, err = afield("label", ensemble, photos / "day", *words)
    assert code == 0, err
    assert len(labels.read_text().splitlines()) == 9


@pytest.mark.parametrize("verb", ["adapt", "forecast", "card"])
def test_commands_that_need_a_single_model_name_one(afield, ensemble, photo_model, tmp_path, verb):
    words = {
        "adapt": ("--unlabeled", photo_model.parent / "photos", "--out", tmp_path / "adapted"),
        "forecast": ("--unlabeled", photo_model.parent / "photos"),
        "card": (),
    }[verb]
    said = refused(afield, verb, ensemble, *words)
    assert f"is an ensemble of 2 models; use one of them, as {ensemble / 'member-0'}" in said


def test_models_that_do_not_fit_are_refused_before_anything_is_written(afield, photo_model, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    shutil.copytree(photo_model, other)
    description = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps({**description, "class_names": ["cat", "owl", "dog"]}))
    said = refused(afield, "ensemble", photo_model, other, "--out", out)
    assert f"{other} has another class_names than {photo_model}" in said
    assert "at least two models, got 1" in refused(afield, "ensemble", photo_model, "--out", out)
    assert not out.exists()
    assert "contains a model" in refused(afield, "ensemble", photo_model, photo_model, "--out", photo_model)


@pytest.mark.parametrize("members", [1, -2, 2.0, True, "2", 10_000_000, None])
def test_a_description_of_a_stranger_is_checked(ensemble, members):
    (ensemble / "model.json").write_text(json.dumps({"members": members}))
    with pytest.raises(InputError, match="must be a number from 2 to 100, got"):
        package.load(ensemble)


def test_an_ensemble_of_ensembles_is_refused(ensemble, photo_model, tmp_path):
    with pytest.raises(InputError, match="is an ensemble of 2 models"):
        write_ensemble([photo_model, ensemble], tmp_path / "out")
    shutil.rmtree(ensemble / "member-1")
    shutil.copytree(ensemble, tmp_path / "copy")
    (ensemble / "member-1").symlink_to(tmp_path / "copy")
    with pytest.raises(InputError, match="is an ensemble of 2 models"):
        package.load(ensemble)
