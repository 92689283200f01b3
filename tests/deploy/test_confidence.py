"""The temperature of a trained model and its thresholds: where they come from, and what they change."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

import afield as package
from afield.deploy.confidence import CONFIDENCE, Confidence
from afield.errors import InputError
from afield.evaluation.confidence import Scored, fit_temperature, threshold_for
from afield.records import read_records
from tests.conftest import write_photos

FAST = {"epochs": 2, "image_size": 16, "recipe": "erm"}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("places") / "photos", ("day", "dusk", "night"), size=16)


@pytest.fixture(scope="module")
def comparison(places):
    out = places.parent / "comparison"
    package.compare(data=str(places), recipes=("erm",), seeds=2, epochs=2, image_size=16, out=out)
    return out


@pytest.fixture(scope="module")
def model_folder(places):
    package.train(data=str(places), backbone="resnet8_ibn", freeze=True, **FAST, out=places.parent / "frozen")
    return places.parent / "frozen"


def test_a_frozen_backbone_is_measured_on_each_domain_left_out_of_training(model_folder):
    found = Confidence.load(model_folder)
    assert found.unseen
    assert {name: len(part.right) for name, part in found.parts.items()} == {"day": 36, "dusk": 36, "night": 36}
    assert found.threshold(0.3) == threshold_for(0.3, [*found.parts.values()]) < 1
    assert found.threshold(1.0) > 1  # a hardly trained head: a person looks at each image
    assert found.threshold(0.0) == min(part.confidence.min() for part in found.parts.values())


def test_a_trained_backbone_is_measured_on_its_validation_images(photo_model):
    found = Confidence.load(photo_model)
    assert not found.unseen
    assert [*found.parts] == ["validation"]
    assert "(measured on validation images of the training domains)" in found.describe(0.5)


def test_a_comparison_measures_a_trained_backbone_on_left_out_domains(places, comparison, tmp_path):
    package.train(data=str(places), **FAST, comparison=comparison, out=tmp_path / "model")
    found = Confidence.load(tmp_path / "model")
    assert {name: len(part.right) for name, part in found.parts.items()} == {"day": 72, "dusk": 72, "night": 72}
    records = read_records(comparison)
    right = {name: np.mean([r.test[name]["accuracy"] for r in records if r.unseen == name]) for name in found.parts}
    assert {name: part.right.mean() for name, part in found.parts.items()} == pytest.approx(right)
    logits = torch.randn(2, 3)
    assert package.load(tmp_path / "model").probabilities(logits).numpy() == pytest.approx(
        (logits / found.temperature).softmax(dim=1).numpy()
    )


def test_a_comparison_of_other_settings_is_refused_before_training(places, comparison, tmp_path):
    with pytest.raises(InputError, match="has no finished run of recipe 'erm' with these data and settings"):
        package.train(data=str(places), **FAST | {"epochs": 3}, comparison=comparison, out=tmp_path / "model")
    assert not (tmp_path / "model" / "done").exists()


def test_the_temperature_changes_probabilities_but_no_prediction(photo_model, photos, tmp_path):
    shutil.copytree(photo_model, tmp_path / "model")
    Confidence(temperature=4.0).save(tmp_path / "model")
    files = sorted((photos / "day").rglob("*.png"))
    hot, plain = package.load(tmp_path / "model"), package.load(photo_model)
    logits = plain.logits(np.stack([plain.pixels(file) for file in files]))
    for one, other, row in zip(hot.predict(files), plain.predict(files), logits, strict=True):
        assert one.label == other.label
        assert [*one.probabilities.values()] == pytest.approx((row / 4).softmax(dim=0).tolist(), abs=1e-6)


def test_a_model_without_measurements_keeps_its_probabilities(photo_model, tmp_path):
    shutil.copytree(photo_model, tmp_path / "model")
    (tmp_path / "model" / CONFIDENCE).unlink()
    found = package.load(tmp_path / "model").confidence
    assert found == Confidence()
    assert found.threshold(0.95) is None


def test_measurements_survive_a_file_and_a_damaged_file_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    logits = {name: (rng.normal(size=(50, 3)), rng.integers(0, 3, 50)) for name in ("a/b", "ö")}
    measured = Confidence.measure(logits, unseen=True)
    assert measured.temperature == fit_temperature([*logits.values()])
    measured.save(tmp_path)
    found = Confidence.load(tmp_path)
    assert [*found.parts] == ["a/b", "ö"]
    assert (found.temperature, found.unseen) == (measured.temperature, True)
    assert np.array_equal(found.parts["ö"].confidence, measured.parts["ö"].confidence)
    assert np.array_equal(found.parts["ö"].right, Scored.of(*logits["ö"]).right)
    (tmp_path / CONFIDENCE).write_bytes(b"no tensors")
    with pytest.raises(InputError, match=r"cannot read .*confidence\.safetensors"):
        Confidence.load(tmp_path)


def test_evaluate_tells_what_is_left_to_the_model(afield, photo_model, photos):
    model, data = package.load(photo_model), package.data.load(str(photos), image_size=16)
    probabilities = model.probabilities(model.logits(np.array(data.images))).numpy()
    threshold = round(float(np.median(probabilities.max(axis=1))), 3)
    arguments = ("evaluate", photo_model, "--data", photos, "--threshold", threshold)
    result = json.loads(afield(*arguments, "--json")[1])
    sure, right = probabilities.max(axis=1) >= threshold, probabilities.argmax(axis=1) == data.labels
    assert 0 < sure.mean() < 1
    assert result["review"]["all"] == pytest.approx({"coverage": sure.mean(), "accuracy": right[sure].mean()})
    night = data.domains == data.domain_names.index("night")
    assert result["review"]["domains"]["night"]["coverage"] == pytest.approx(sure[night].mean())
    table = afield(*arguments)[1]
    assert f"{100 * sure.mean():.2f}" in table
    assert f"left to the model: probability of at least {threshold:.4g}" in table


@pytest.mark.parametrize("option", ["--threshold", "--target-accuracy"])
def test_a_probability_outside_its_range_is_refused(afield, photo_model, photos, option):
    code, _, err = afield("evaluate", photo_model, "--data", photos, option, 1.5)
    assert code == 2
    assert f"{option} must lie between 0 and 1, got 1.5" in err
