"""A model that predicts losses: saved, loaded, asked for images to label, adapted, and exported without the module."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import afield as package
from afield.deploy.export import export_model
from afield.deploy.label import labeling_task
from afield.models import LossPrediction
from tests.conftest import write_photos


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one place; the other one, ``night``, is new to it."""
    folder = tmp_path_factory.mktemp("predicts")
    write_photos(folder / "photos", ("day", "dusk"))
    write_photos(folder, ("night",))
    data = {"data": str(folder / "photos"), "image_size": 16, "epochs": 2}
    package.train(**data, recipe="erm+learning_loss", out=folder / "model")
    return folder


def test_the_module_is_saved_with_the_model_and_predicts_what_its_parts_predict(folder):
    model = package.load(folder / "model")
    assert isinstance(model.classifier.loss_prediction, LossPrediction)
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    found = model.features_and_losses(images)
    torch.testing.assert_close(found[:, :-1], model.features(images), rtol=0, atol=1e-5)
    backbone, maps = model.classifier.backbone, []
    inputs = model.classifier.normalize(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)
    with torch.no_grad():
        last = backbone.stem(inputs)
        for stage in backbone.stages:
            last = stage(last)
            maps.append(last)
        torch.testing.assert_close(found[:, -1], model.classifier.loss_prediction(maps))


def test_label_chooses_the_images_with_the_largest_predicted_losses(afield, folder, tmp_path):
    model, night = package.load(folder / "model"), folder / "night"
    options = ("--count", 5, "--audit", 0, "--near-duplicates", "--no-page", "--csv", tmp_path / "labels.csv")
    code, _, err = afield("label", folder / "model", night, "--strategy", "learning_loss", *options)
    assert code == 0, err
    paths = sorted(night.rglob("*.png"))
    losses = model.features_and_losses(np.stack([model.pixels(path) for path in paths]))[:, -1]
    highest = losses.argsort(descending=True, stable=True)[:5]
    with open(tmp_path / "labels.csv", newline="") as file:
        chosen = [row["path"] for row in csv.DictReader(file)]
    assert chosen == [paths[index].relative_to(night).as_posix() for index in highest]


def test_a_bad_image_has_neither_features_nor_a_predicted_loss(folder, tmp_path):
    night = write_photos(tmp_path, ("night",)) / "night"
    (night / "cat" / "03.png").write_bytes(b"no image")
    task = labeling_task(package.load(folder / "model"), night, on_bad_image="skip")
    assert len(task.paths) == len(task.features) == len(task.predicted_losses) == 35
    assert task.predicted_losses.isfinite().all()


def test_an_adapted_model_keeps_its_module(afield, folder, tmp_path):
    command = ("adapt", folder / "model", "--unlabeled", folder / "night", "--method", "standardize+t3a")
    code, _, err = afield(*command, "--out", tmp_path / "adapted")
    assert code == 0, err
    before, after = (package.load(path).classifier for path in (folder / "model", tmp_path / "adapted"))
    for name, value in before.loss_prediction.state_dict().items():
        assert torch.equal(after.loss_prediction.state_dict()[name], value)


def test_an_exported_model_has_the_same_logits_and_no_module(folder, tmp_path):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    model = package.load(folder / "model")
    export_model(model, tmp_path / "model.onnx")
    proto = onnx.load(tmp_path / "model.onnx")
    assert not [each.name for each in proto.graph.initializer if "loss_prediction" in each.name]
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images})
    assert np.abs(logits - model.logits(images).numpy()).max() < 1e-4
