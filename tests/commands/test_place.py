"""afield adapt and afield forecast: a model in a new place that has images without labels."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import afield as package
from afield.adaptation import ADAPTATIONS
from afield.deploy.source import Source
from afield.training import checkpoint
from tests.command_line import refused
from tests.conftest import write_photos

FROZEN = {"freeze": True, "image_size": 20, "learning_rate": 0.3, "epochs": 20, "batch_size": 36, "recipe": "erm"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training domains, and 36 images of a new place in one folder."""
    root = tmp_path_factory.mktemp("place")
    write_photos(root / "photos", domains=("day", "dusk", "fog", "night"))
    write_photos(root / "labeled", domains=("valley",))
    (root / "valley").mkdir()
    for path in sorted((root / "labeled").rglob("*.png")):
        shutil.copy(path, root / "valley" / f"{path.parent.name}-{path.name}")
    return root


@pytest.fixture(scope="module")
def site(place: Path) -> Path:
    """A head on a frozen backbone, and what its training domains say."""
    package.train(data=str(place / "photos"), out=place / "site", **FROZEN)
    return place / "site"


@pytest.fixture(scope="module")
def network(place: Path) -> Path:
    """A whole network, trained for an epoch."""
    package.train(data=str(place / "photos"), out=place / "network", recipe="erm", image_size=20, epochs=1)
    return place / "network"


def pixels(folder: Path) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def test_training_on_a_frozen_backbone_keeps_what_the_domains_say(site):
    source = Source.load(site)
    assert [*source.statistics.domains] == ["day", "dusk", "fog", "night"]
    assert {each.domain for each in source.plays} == {"day", "dusk", "fog", "night"}
    assert sorted({each.images for each in source.plays}) == [10, 18]
    assert not (site / "calibration").exists()


def test_adapting_writes_a_model_like_any_other(afield, place, site, tmp_path):
    out = tmp_path / "adapted"
    code, printed, _ = afield(
        "adapt", site, "--unlabeled", place / "valley", "--out", out, "--method", "standardize+t3a"
    )
    assert code == 0
    assert printed.startswith("adapted by standardize+t3a, 36 images: ")
    assert "points on average where training domains played the new place (day " in printed
    model, adapted, images = package.load(site), package.load(out), pixels(place / "valley")
    assert not torch.equal(model.logits(images), adapted.logits(images))
    assert adapted.predict(images[0])[0].label in model.class_names
    assert afield("evaluate", out, "--data", place / "labeled", "--json")[0] == 0
    assert refused(afield, "adapt", out, "--unlabeled", place / "valley", "--out", tmp_path / "b").endswith(
        "is already adapted to valley; use the original model instead"
    )


def test_an_adapted_model_is_exported_with_its_statistics(place, site, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    adapted = package.adapt(model=site, unlabeled=place / "valley", out=tmp_path / "a", method="standardize+t3a")
    package.export(tmp_path / "a", tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = pixels(place / "valley")
    (logits,) = session.run(["logits"], {"images": images.transpose(0, 3, 1, 2).astype(np.float32) / 255})
    assert np.abs(logits - adapted.model.logits(images).numpy()).max() < 1e-3


def test_adapting_again_gives_the_same_files_after_an_interruption_too(place, site, tmp_path):
    adapted = package.adapt(model=site, unlabeled=place / "valley", out=tmp_path / "a", method="t3a")
    before = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    (tmp_path / "a" / "model.json").unlink()
    package.adapt(model=site, unlabeled=place / "valley", out=tmp_path / "a", method="t3a")
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == before
    assert adapted.method == "t3a"


def test_auto_takes_what_the_domains_say_and_tells_it(place, site, tmp_path):
    adapted = package.adapt(model=site, unlabeled=place / "valley", out=tmp_path / "a")
    assert (adapted.method == "none") == adapted.reason.startswith(("nothing helped enough", "the training domains"))
    assert set(adapted.gains) == {"day", "dusk", "fog", "night"}


def test_with_few_images_the_model_stays_as_it_is(afield, place, site, tmp_path):
    (tmp_path / "few").mkdir()
    for path in sorted((place / "valley").iterdir())[:9]:
        shutil.copy(path, tmp_path / "few")
    code, printed, _ = afield("adapt", site, "--unlabeled", tmp_path / "few", "--out", tmp_path / "a")
    assert code == 0
    assert printed.startswith("not adapted, 9 images: 9 images are too few; 10 are the least")
    images = pixels(place / "valley")
    assert torch.equal(package.load(tmp_path / "a").logits(images), package.load(site).logits(images))


def test_the_first_percentage_of_a_forecast_is_the_expected_accuracy(afield, place, site):
    code, printed, _ = afield("forecast", site, "--unlabeled", place / "valley")
    code_json, as_json, _ = afield("forecast", site, "--unlabeled", place / "valley", "--json")
    assert code == code_json == 0
    found = json.loads(as_json)
    expected = found["forecast"]
    assert int(re.search(r"(\d+) %", printed)[1]) == round(100 * expected["accuracy"])
    assert f"[{100 * expected['low']:.0f}, {100 * expected['high']:.0f}]" in printed
    assert f"method {expected['method']}" in printed
    assert "points off on average on your own domains" in printed
    assert 0 <= expected["low"] <= expected["accuracy"] <= expected["high"] <= 1
    assert found["images"] == 36
    assert found["unlike"] > 0
    assert len(found["unusual"]) == 12


def test_the_page_of_a_forecast_shows_the_most_unusual_images(afield, place, site, tmp_path):
    code, printed, _ = afield("forecast", site, "--unlabeled", place / "valley", "--out", tmp_path / "page")
    page = (tmp_path / "page" / "report.html").read_text()
    assert code == 0
    assert f"page: {tmp_path / 'page' / 'report.html'}" in printed
    assert "Forecast: valley" in page
    assert page.count("data:image/png;base64,") == 12
    assert "Expected accuracy at valley: " in page
    assert "(chosen)" in page


def test_a_whole_network_forecasts_without_an_interval_until_it_is_given_the_training_data(afield, place, network):
    code, printed, _ = afield("forecast", network, "--unlabeled", place / "valley")
    assert code == 0
    assert re.match(r"expected accuracy at valley: \d+ %; method self_agreement\n", printed)
    assert "no interval: no training domain has played the new place; --data" in printed
    other = place / "labeled"
    assert "is not the training data of" in refused(afield, "forecast", network, "--unlabeled", place / "valley", "--data", other)
    code, printed, _ = afield("forecast", network, "--unlabeled", place / "valley", "--data", place / "photos")
    assert code == 0
    assert "points off on average on your own domains" in printed
    again = afield("forecast", network, "--unlabeled", place / "valley")
    assert again[1] == printed


def test_a_network_can_be_adapted_by_what_changes_it(place, network, tmp_path):
    adapted = package.adapt(model=network, unlabeled=place / "valley", out=tmp_path / "a", method="batch_norm+tent+t3a")
    before, _ = checkpoint.load(network / "model.safetensors")
    after, _ = checkpoint.load(tmp_path / "a" / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "backbone.stem.1.running_mean" in changed
    assert "objective.head.weight" in changed
    assert "backbone.stem.0.weight" not in changed
    images = pixels(place / "valley")
    torch.testing.assert_close(package.load(tmp_path / "a").logits(images), adapted.model.logits(images))


def test_a_recipe_that_standardizes_is_used_with_the_statistics_of_all_training_images(place, tmp_path):
    recipe = {**FROZEN, "recipe": "erm+standardize"}
    package.train(data=str(place / "photos"), out=tmp_path / "site", **recipe)
    norm = package.load(tmp_path / "site").classifier.feature_norm
    source = Source.load(tmp_path / "site")
    torch.testing.assert_close(norm.mean, source.statistics.pooled.mean)
    adapted = package.adapt(
        model=tmp_path / "site", unlabeled=place / "valley", out=tmp_path / "a", method="standardize"
    )
    assert not torch.equal(adapted.model.classifier.feature_norm.mean, norm.mean)


def test_mistakes_are_named(afield, place, site, tmp_path):
    where = ("--unlabeled", place / "valley", "--out", tmp_path / "a")
    assert "unknown adaptation 't3b'; did you mean 't3a'" in refused(afield, "adapt", site, *where, "--method", "t3b")
    gone = ("--unlabeled", tmp_path / "gone", "--out", tmp_path / "a")
    assert "no such file or folder" in refused(afield, "adapt", site, *gone)
    assert "contains no model" in refused(afield, "adapt", place, *where)
    shutil.copytree(site, tmp_path / "other")
    taken = ("--unlabeled", place / "valley", "--out", tmp_path / "other")
    assert "contains another model; choose another --out" in refused(afield, "adapt", site, *taken)
    (tmp_path / "other" / "adaptation.safetensors").unlink()
    old = refused(afield, "forecast", tmp_path / "other", "--unlabeled", place / "valley")
    assert old.endswith("says nothing of its training data; give them with --data")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_text("no image")
    assert "bad image" in refused(afield, "forecast", site, "--unlabeled", tmp_path / "bad")
    bad = ("--unlabeled", tmp_path / "bad", "--on-bad-image", "skip")
    assert afield("forecast", site, *bad)[0] == 2


def test_the_adaptations_are_listed(afield):
    code, printed, _ = afield("list", "adaptations")
    assert code == 0
    assert all(name in printed for name in ADAPTATIONS.names)
