"""The hub: a pushed model is the same when it is loaded, in afield and in timm, and a stranger's folder is checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

import afield as package
from afield.deploy.hub import model_folder
from afield.deploy.push import stage
from afield.errors import InputError
from tests.command_line import refused
from tests.deploy.hub_server import Hub

huggingface_hub = pytest.importorskip("huggingface_hub")

TIMM = ("--backbone", "test_efficientnet", "--image-size", 32, "--epochs", 1)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in of the hub, with an empty cache and a token."""
    from huggingface_hub import constants

    server = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_a_token_of_nobody")
    yield server
    server.close()
    assert server.refused == []


def same(one, other) -> float:
    """The largest difference of a probability on random images."""
    images = np.random.default_rng(0).integers(0, 256, (4, *one.size, 3), dtype=np.uint8)
    first, second = (model.probabilities(model.logits(images)) for model in (one, other))
    assert first.std() > 1e-3
    return float((first - second).abs().max())


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> Path:
    """A linear head on standardized features of a small network of timm, with a temperature."""
    from tests.conftest import write_photos

    folder = tmp_path_factory.mktemp("frozen")
    write_photos(folder / "photos", ("day", "dusk", "night"))
    data, network = str(folder / "photos"), "test_efficientnet"
    about = {"backbone": network, "freeze": True, "image_size": 32, "epochs": 3}
    package.train(data=data, recipe="erm+standardize", **about, out=folder / "model")
    return folder / "model"


def test_a_pushed_model_is_loaded_with_the_same_probabilities(afield, hub, photo_model):
    code, out, err = afield("push", photo_model, "ada/birds")
    assert (code, out.strip()) == (0, f"{hub.address}/ada/birds"), err
    repository = hub.repositories["ada/birds"]
    assert repository["private"] is True
    names = {"README.md", "config.json", "model.json", "model.safetensors", "afield.safetensors"}
    assert set(repository["files"]) == names | {"confidence.safetensors", "adaptation.safetensors"}
    original, loaded = package.load(photo_model), package.load("hf://ada/birds")
    assert same(original, loaded) == 0
    assert loaded.class_names == original.class_names
    assert loaded.confidence.temperature == original.confidence.temperature != 1
    assert np.array_equal(loaded.trained_images, original.trained_images)
    config = json.loads(repository["files"]["config.json"])
    assert config == {"architecture": "resnet8_ibn", "num_classes": 3, "label_names": ["cat", "dog", "owl"]}
    card = repository["files"]["README.md"].decode()
    assert 'library_name: "afield"' in card
    assert 'afield.load("hf://ada/birds")' in card
    assert "Data set `photos`" in card


def test_commands_take_a_model_of_the_hub(afield, hub, photo_model, pictures_folder):
    assert afield("push", photo_model, "ada/birds", "--public", "--license", "mit")[0] == 0
    assert hub.repositories["ada/birds"]["private"] is False
    assert b'license: "mit"' in hub.repositories["ada/birds"]["files"]["README.md"]
    _, expected, _ = afield("predict", photo_model, pictures_folder)
    code, found, err = afield("predict", "hf://ada/birds", pictures_folder)
    assert (code, found) == (0, expected), err
    assert afield("push", photo_model, "ada/birds")[0] == 0  # a second commit; the repository exists
    assert hub.repositories["ada/birds"]["commits"] == 2
    out = pictures_folder.parent / "table.csv"
    code, _, err = afield("predict", "hf://ada/birds", pictures_folder, "--out", out)
    assert code == 0, err
    assert "distance" in out.read_text().splitlines()[0]


@pytest.fixture
def pictures_folder(tmp_path) -> Path:
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for value in (40, 200):
        Image.new("RGB", (20, 30), (value, 90, 60)).save(folder / f"{value}.png")
    return folder


def test_timm_loads_a_linear_head_with_the_probabilities_of_the_model(frozen, tmp_path):
    model = package.load(frozen)
    assert model.classifier.feature_norm is not None
    assert model.confidence.temperature != 1
    stage(frozen, tmp_path, "ada/frozen")
    network = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert network.num_classes == 3
    config = timm.data.resolve_model_data_config(network)
    assert config["input_size"] == (3, 32, 32)
    assert (config["crop_mode"], config["crop_pct"], config["interpolation"]) == ("squash", 1.0, "bilinear")
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        found = network((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std).softmax(dim=1)
    expected = model.probabilities(model.logits(images))
    assert torch.allclose(found, expected, atol=1e-5)
    assert json.loads((tmp_path / "config.json").read_text())["label_names"] == ["cat", "dog", "owl"]
    assert same(model, package.load(tmp_path)) == 0


def test_timm_loads_the_backbone_of_a_margin_head(afield, photos, tmp_path):
    code, _, err = afield("train", "--data", photos, "--recipe", "arcface", *TIMM, "--out", tmp_path / "model")
    assert code == 0, err
    (tmp_path / "hub").mkdir()
    stage(tmp_path / "model", tmp_path / "hub", "ada/arcface")
    network = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True).eval()
    model = package.load(tmp_path / "model")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(network(model.classifier.normalize(images)), model.classifier.backbone_features(images))
    assert same(model, package.load(tmp_path / "hub")) == 0


def test_an_ensemble_is_pushed_with_all_its_models(afield, hub, photo_model, photo_arcface, tmp_path):
    assert afield("ensemble", photo_model, photo_arcface, "--out", tmp_path / "both")[0] == 0
    assert afield("push", tmp_path / "both", "ada/both")[0] == 0
    assert same(package.load(tmp_path / "both"), package.load("hf://ada/both")) == 0
    assert "member-1/model.safetensors" in hub.repositories["ada/both"]["files"]
    assert b"An image classifier for 3 classes" in hub.repositories["ada/both"]["files"]["README.md"]


def test_a_card_of_the_folder_is_uploaded_as_it_is(photo_model, tmp_path):
    shutil.copytree(photo_model, tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("mine\n")
    (tmp_path / "hub").mkdir()
    stage(tmp_path / "model", tmp_path / "hub", "ada/birds")
    assert (tmp_path / "hub" / "README.md").read_text() == "mine\n"


def test_a_folder_of_a_stranger_is_checked_like_any_other(photo_model, tmp_path):
    stage(photo_model, tmp_path, "ada/birds")
    weights = load_file(tmp_path / "model.safetensors")
    name = next(name for name in weights if name.endswith("weight"))
    save_file({**weights, name: weights[name].new_full(weights[name].shape, torch.nan)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=f"1 NaN or infinite: backbone.{name}"):
        package.load(tmp_path)
    save_file({**weights, "extra": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"1 unexpected: backbone\.extra"):
        package.load(tmp_path)
    (tmp_path / "afield.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"cannot read .*afield\.safetensors"):
        package.load(tmp_path)


def test_what_is_not_on_the_hub_is_one_clear_error(afield, hub, photo_model, pictures_folder):
    said = refused(afield, "predict", "hf://ada/nothing", pictures_folder)
    assert "cannot download hf://ada/nothing: 404" in said
    assert afield("push", photo_model, "ada/birds")[0] == 0
    assert "cannot download hf://ada/birds" in refused(afield, "predict", "hf://ada/birds@v9", pictures_folder)
    assert "is named hf://OWNER/NAME" in refused(afield, "predict", "hf://birds", pictures_folder)
    assert "is named OWNER/NAME, got 'birds'" in refused(afield, "push", photo_model, "birds")
    assert model_folder(Path("hf://ada/birds")) == model_folder("hf://ada/birds@main")


def test_without_a_token_the_hub_refuses_a_push(afield, hub, photo_model, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", "/nowhere")
    assert "cannot upload to ada/birds: Client error '401 Unauthorized'" in refused(
        afield, "push", photo_model, "ada/birds"
    )
