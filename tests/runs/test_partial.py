"""Training from a stage on: stored activations give what the whole network gives with its first stages frozen."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import afield as package
from afield.augment import build_chain
from afield.data import Validation
from afield.deploy.source import learn_source
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig, divide
from afield.recipes import RECIPES, resolve
from afield.runs.build import build_algorithm
from afield.runs.callback import SILENT
from afield.runs.config import ExperimentConfig, PartialTraining, choose_training
from afield.runs.features import frozen_backbone, missing_features, stored_features, whole_network
from afield.runs.run import Run, prepare
from afield.training import Subset, fit, predict
from tests.command_line import refused
from tests.killed import command

STAGE = "stages.2"
FABRIC = make_fabric("cpu", "32", 1, 1)


def setup_of(digits, views=1, dtype="float16") -> ExperimentConfig:
    training = choose_training("partial", epochs=2, learning_rate=0.05, dropout=0.3)
    part, backbone = PartialTraining(STAGE, dtype), BackboneConfig("resnet8")
    return ExperimentConfig(digits, backbone, False, Validation(), training, partial=part, views=views)


class Frozen(nn.Module):
    """A backbone whose layers before the stage are in evaluation mode and do not train."""

    def __init__(self, before: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before, self.after = before.requires_grad_(False), after
        self.feature_info = [entry | {"module": f"after.{entry['module']}"} for entry in after.feature_info]

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.before.eval()(images))


@pytest.mark.parametrize(
    ("recipe", "batch_norm"),
    [("erm", "train"), ("erm", "fixed"), ("swad+flattening", "train"), ("miro", "train"), ("mixstyle", "fixed")],
)
def test_it_equals_the_whole_network_with_its_first_stages_frozen(digits, tmp_path, monkeypatch, recipe, batch_norm):
    """Activations without the rounding of faster inference, which training would amplify."""
    monkeypatch.setattr("afield.runs.features.fast_inference", lambda network, *options: network.eval())
    setup = setup_of(digits, dtype="float32")
    setup = dataclasses.replace(setup, training=dataclasses.replace(setup.training, batch_norm=batch_norm))
    run = Run(setup, resolve([recipe])[0], ("wall",), 0)
    features = stored_features(setup, "none", FABRIC)
    assert (features.shape, features.dtype) == ((len(digits), 8, 8, 32), np.float32)
    _, parts, classifier = prepare(run, features, FABRIC)

    def trained(classifier, parts, folder):
        algorithm = build_algorithm(run.recipe, classifier, parts.train.domain_sizes, run.seed)
        file = tmp_path / folder / "checkpoint.safetensors"
        chain = build_chain("none")
        return fit(algorithm, parts, setup.training, chain, seed=0, label="", checkpoint_file=file, fabric=FABRIC)

    images = dataclasses.replace(setup, partial=None)
    _, pictures, whole = prepare(Run(images, run.recipe, run.held_out, 0), None, FABRIC)
    before, _ = divide(frozen_backbone(setup.backbone)[0], STAGE, (16, 16))
    _, after = divide(whole.backbone, STAGE, (16, 16))
    whole.backbone = Frozen(before, after)
    expected, found = trained(whole, pictures, "whole"), trained(classifier, parts, "partial")
    assert found.epochs[-1].train_loss < found.epochs[0].train_loss
    for part, logits in expected.logits.items():
        # Stored activations are computed in fewer steps, with other rounding, which training increases.
        torch.testing.assert_close(found.logits[part], logits, atol=1e-4, rtol=1e-4)
    for name, tensor in after.state_dict().items():
        torch.testing.assert_close(classifier.backbone.state_dict()[name], tensor, atol=1e-4, rtol=1e-4)
    mean = divide(frozen_backbone(setup.backbone)[0], STAGE, (16, 16))[1][1].bn1.running_mean
    assert torch.equal(classifier.backbone[1].bn1.running_mean, mean) == (batch_norm == "fixed")


def test_half_precision_rounds_the_activations_alone(digits):
    exact, stored = (stored_features(setup_of(digits, dtype=name), "none", FABRIC) for name in ("float32", "float16"))
    assert stored.dtype == np.float16
    assert np.array_equal(stored, exact.astype(np.float16))
    ((maps, _),) = Subset(stored, digits.labels, np.arange(3)).batches([np.arange(3)])
    assert (maps.shape, maps.dtype) == ((3, 32, 8, 8), torch.float16)


def test_a_view_is_the_image_or_a_crop_of_it_and_each_epoch_draws_one(digits):
    setup = setup_of(digits, views=3)
    features = stored_features(setup, "crop", FABRIC)
    views = features.reshape(3, len(digits), 8, 8, 32).astype(np.float32)
    assert np.array_equal(features[: len(digits)], stored_features(setup_of(digits), "none", FABRIC))
    assert not any(np.array_equal(views[a, 5], views[b, 5]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert missing_features(setup, "crop", FABRIC) == 0
    run = Run(setup, RECIPES["erm"], ("wall",), 0)
    _, parts, _ = prepare(run, features, FABRIC)
    drawn = parts.train.with_random_views(np.random.default_rng(0))
    assert np.array_equal(drawn.indices % len(digits), parts.train.indices)
    assert np.bincount(drawn.indices // len(digits)).min() > len(parts.train) / 4
    assert np.array_equal(drawn.labels[drawn.indices], digits.labels[parts.train.indices])
    assert np.array_equal(drawn.domain_of, parts.train.domain_of)
    assert np.concatenate([part.indices for part in (parts.val, *parts.tests.values())]).max() < len(digits)
    assert prepare(dataclasses.replace(run, setup=setup_of(digits)), features[: len(digits)], FABRIC)[
        1
    ].train.with_random_views(np.random.default_rng(0)).inputs.shape == (len(digits), 8, 8, 32)


def test_the_model_is_one_network_of_images(digits):
    setup = setup_of(digits, dtype="float32")
    run = Run(setup, RECIPES["erm"], ("wall",), 0)
    _, parts, classifier = prepare(run, stored_features(setup, "none", FABRIC), FABRIC)
    with torch.no_grad():
        classifier.backbone[1].conv1.weight.mul_(1.5)
    expected = predict(classifier, parts.val, batch_size=64, fabric=FABRIC)
    images = Subset(digits.images, digits.labels, parts.val.indices)
    whole = whole_network(setup, classifier)
    torch.testing.assert_close(predict(whole, images, batch_size=64, fabric=FABRIC), expected, atol=1e-5, rtol=1e-5)


FAST = ("--train-from", STAGE, "--views", 2, "--backbone", "resnet8", "--epochs", 2, "--recipe", "erm")


def test_train_predicts_exports_and_survives_kill_9(tmp_path, afield):
    folders = [tmp_path / name / "out" for name in ("whole", "killed")]
    for at in (3, 9):
        end = command(folders[1].parent, "train", *FAST, "--out", folders[1], watched="(out|cache/features)", at=at)
        assert end.killed, end.said
    for folder in folders:
        end = command(folder.parent, "train", *FAST, "--out", folder)
        assert end.code == 0, end.said
    first, second = (json.loads((folder / "record.json").read_text()) for folder in folders)
    assert min(first.pop("duration_s"), second.pop("duration_s")) > 0
    assert first == second
    whole, killed = (package.load(folder) for folder in folders)
    for name, tensor in whole.classifier.state_dict().items():
        assert torch.equal(tensor, killed.classifier.state_dict()[name]), name
    assert first["config"]["backbone"]["partial"] == {"stage": STAGE, "dtype": "float16"}
    pytest.importorskip("onnxruntime")
    code, out, err = afield("export", folders[0], "--out", tmp_path / "model.onnx")
    assert code == 0, err
    assert Path(tmp_path / "model.onnx").exists(), out


def test_the_source_of_a_model_is_learned_again_also_of_an_early_one(digits, tmp_path, afield):
    """Early models have the views among the settings of partial training, and do not name the augmentation."""
    code, _, err = afield("train", "--data", "digits", *FAST, "--out", tmp_path / "model")
    assert code == 0, err
    source = learn_source(tmp_path / "model", digits, FABRIC, SILENT)
    assert (len(source.plays) > 0, source.why_no_plays) == (True, "")
    description = json.loads((tmp_path / "model" / "model.json").read_text())
    backbone = description["config"]["backbone"]
    backbone["partial"]["views"] = backbone.pop("views")
    (tmp_path / "model" / "model.json").write_text(json.dumps(description))
    early = learn_source(tmp_path / "model", digits, FABRIC, SILENT)
    assert (early.plays, "does not contain the augmented images" in early.why_no_plays) == ([], True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--train-from", "stages.9"), "stage to train from: 'stages.9'"),
        (("--train-from", STAGE, "--freeze"), "--freeze and --train-from are mutually exclusive"),
        (
            ("--train-from", STAGE, "--augment", "crop"),
            "augment='crop' needs --views or images; --train-from stores activations; to train on images, omit it",
        ),
        (("--stored-dtype", "float32"), "--stored-dtype needs --train-from"),
        (("--train-from", STAGE, "--recipes", "jigen"), "algorithm jigen needs images; --train-from provides"),
        (
            ("--train-from", STAGE, "--recipes", "erm", "--set", "erm.augment=mixup"),
            "augment='mixup' needs images; --train-from",
        ),
    ],
)
def test_what_cannot_be_trained_from_a_stage_is_refused(afield, tmp_path, arguments, message):
    assert re.search(
        message, refused(afield, "compare", "--backbone", "resnet8", *arguments, "--out", tmp_path / "out")
    )
