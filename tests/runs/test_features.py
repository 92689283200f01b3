"""Features of a frozen backbone: those of the network, cached by their computation."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch

from afield.augment import Standard, TrivialAugmentWide
from afield.data import Validation, load
from afield.data.cache import cache_root
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.records import read_json, read_records, seed_for
from afield.runs import features
from afield.runs.config import ExperimentConfig
from afield.training import PRESETS
from tests.command_line import refused


def test_features_are_those_of_the_network_and_each_precision_has_its_own_cache(photos):
    data, backbone, fabric = load(str(photos), image_size=16), BackboneConfig("resnet8"), make_fabric("cpu", "32")
    setup = ExperimentConfig(data, backbone, True, Validation(), PRESETS["frozen"])
    short = dataclasses.replace(setup, training=dataclasses.replace(setup.training, precision="bf16"))
    assert (
        features.missing_features(setup, "none", fabric)
        == features.missing_features(short, "none", fabric)
        == len(data)
    )
    exact, inexact = (features.stored_features(each, "none", fabric) for each in (setup, short))
    network, _ = features.frozen_backbone(backbone)
    images = torch.from_numpy(np.array(data.images)).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = network.eval()((images / 255 - 0.5) / 0.5).numpy()
    np.testing.assert_allclose(exact, expected, rtol=0, atol=1e-4)
    assert 1e-4 < np.abs(inexact - exact).max() < 0.05 * np.abs(exact).max()
    assert len([*cache_root().rglob("features.npy")]) == 2
    assert features.missing_features(setup, "none", fabric) == features.missing_features(short, "none", fabric) == 0


def test_features_are_kept_when_a_label_is_corrected_and_not_when_a_pixel_changes(photos):
    data, fabric = load(str(photos), image_size=16), make_fabric("cpu", "32")
    setup = ExperimentConfig(data, BackboneConfig("resnet8"), True, Validation(), PRESETS["frozen"])
    features.stored_features(setup, "none", fabric)
    labels = np.concatenate([1 - data.labels[:1], data.labels[1:]])
    corrected = dataclasses.replace(setup, data=dataclasses.replace(data, labels=labels))
    assert corrected.data.fingerprint != data.fingerprint
    assert features.missing_features(corrected, "none", fabric) == 0
    digests = np.array(data.digests)
    digests[:1] = digests[1:2]
    changed = dataclasses.replace(setup, data=dataclasses.replace(data, digests=digests))
    assert features.missing_features(changed, "none", fabric) == len(data)
    wide = np.zeros((len(data), 16, 32, 3), np.uint8)
    wider = dataclasses.replace(setup, data=dataclasses.replace(data, images=wide))
    assert features.missing_features(wider, "none", fabric) == len(data)


def test_views_are_augmented_images_and_each_augmentation_has_its_own_cache(photos):
    data, fabric = load(str(photos), image_size=16), make_fabric("cpu", "32")
    training = dataclasses.replace(PRESETS["frozen"], augment="crop_flip")
    setup = ExperimentConfig(data, BackboneConfig("resnet8"), True, Validation(), training, views=3)
    none, crops, policy = (
        features.stored_features(setup, name, fabric) for name in ("none", "crop_flip", "trivialaugment")
    )
    assert [len(found) for found in (none, crops, policy)] == [len(data), 3 * len(data), 3 * len(data)]
    assert len([*cache_root().rglob("features.npy")]) == 3
    extract = features.extractor(setup, fabric)
    first = features.BATCH
    images = torch.from_numpy(np.array(data.images[:first])).permute(0, 3, 1, 2)
    for found, view in ((crops, Standard(flip=0.5)(images / 255, generator=seeded(2))), (policy, drawn(images, 2))):
        np.testing.assert_allclose(found[: len(data)], none, rtol=0, atol=1e-6)
        last = found[2 * len(data) :]
        np.testing.assert_allclose(last[:first], extract(view), rtol=0, atol=1e-4)
        assert np.abs(last - none).max() > 0.005


def seeded(view: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for("views", view, 0))


def drawn(images: torch.Tensor, view: int) -> torch.Tensor:
    augmentation = TrivialAugmentWide()
    return augmentation.apply(images, augmentation.sample(images, seeded(view)))


FROZEN = ("--backbone", "resnet8", "--freeze")


def test_recipes_train_on_views_of_their_own_augmentation(afield, tmp_path, monkeypatch):
    """A recipe that augments gives what it gives alone, and one without an augmentation has no views."""
    monkeypatch.chdir(tmp_path)
    few = ("--seeds", 1, "--epochs", 2)
    views = ("--views", 3, "--augment", "none", "--recipes", "erm", "color_jitter")
    for out, options in (("both", views), ("again", (*views, "--jobs", 2)), ("plain", ("--recipes", "erm"))):
        code, _, err = afield("compare", *FROZEN, *few, *options, "--out", out)
        assert code == 0, err
    both, plain = (read_json(tmp_path / name / "summary.json")["recipes"] for name in ("both", "plain"))
    assert read_json(tmp_path / "again" / "summary.json")["recipes"] == both
    assert both["erm"]["domains"] == plain["erm"]["domains"]
    losses = {record.recipe: record.epochs[-1].train_loss for record in read_records(tmp_path / "both")}
    assert losses["color_jitter"] != losses["erm"]
    assert {record.config["backbone"]["views"] for record in read_records(tmp_path / "both")} == {3}


def test_a_model_that_is_trained_on_views_predicts_images(afield, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = afield("train", *FROZEN, "--views", 2, "--epochs", 3, "--recipe", "erm", "--out", "model")
    assert code == 0, err
    record = read_json(tmp_path / "model" / "record.json")
    assert record["config"]["training"]["augment"] == "crop"  # a mirrored digit is not the digit
    code, _, err = afield("evaluate", "model", "--data", "digits")
    assert code == 0, err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--views", 2), "--views needs --freeze or --train-from"),
        (("--freeze", "--views", 0), "--views must be"),
        (("--freeze", "--augment", "crop"), "augment='crop' needs --views or images; --freeze"),
        (
            ("--freeze", "--recipes", "erm", "--set", "erm.augment=randaugment"),
            "augment='randaugment' needs --views or images; --freeze",
        ),
        (
            ("--freeze", "--views", 2, "--recipes", "erm", "--set", "erm.augment=mixup"),
            "augment='mixup' needs images; --freeze",
        ),
        (
            ("--freeze", "--views", 2, "--recipes", "erm", "--set", "erm.augment=learned"),
            "augment='learned' needs images; --freeze",
        ),
    ],
)
def test_views_that_cannot_be_stored_are_refused(afield, tmp_path, arguments, message):
    error = refused(afield, "compare", "--backbone", "resnet8", *arguments, "--out", tmp_path / "out")
    assert re.search(re.escape(message), error), error
