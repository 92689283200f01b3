"""afield adapt and afield forecast: a model in a new place that has images without labels."""

from __future__ import annotations

import json
import os
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
from afield.evaluation import wilson
from afield.labeling.label_file import Row, write_labels
from afield.labeling.task import LabelingTask
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


@pytest.fixture(scope="module")
def swapped(place: Path) -> Path:
    """The new place, by a camera that swaps red and blue: cats look like owls."""
    (place / "swapped").mkdir()
    for path in (place / "valley").iterdir():
        Image.fromarray(np.array(Image.open(path))[:, :, ::-1]).save(place / "swapped" / path.name)
    return place / "swapped"


def rows(folder: Path) -> list[Row]:
    """Labels of a place: the first six images of each class are chosen, the other six are the audit sample."""
    names = sorted(path.name for path in folder.iterdir())
    return [Row(name, name.split("-")[0], "chosen" if name < f"{name.split('-')[0]}-06" else "audit") for name in names]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pixels(folder: Path) -> np.ndarray:
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))])


def test_training_on_a_frozen_backbone_keeps_what_the_domains_say(site):
    source = Source.load(site, package.load(site))
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
    assert "points on average on the training domains that played the new place (day " in printed
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
    (logits,) = session.run(["logits"], {"images": images})
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
    assert (adapted.method == "none") == adapted.reason.startswith(("no method gained enough", "the training domains"))
    assert set(adapted.gains) == {"day", "dusk", "fog", "night"}


def test_with_few_images_the_model_stays_as_it_is(afield, place, site, tmp_path):
    (tmp_path / "few").mkdir()
    for path in sorted((place / "valley").iterdir())[:9]:
        shutil.copy(path, tmp_path / "few")
    code, printed, _ = afield("adapt", site, "--unlabeled", tmp_path / "few", "--out", tmp_path / "a")
    assert code == 0
    assert printed.startswith("not adapted, 9 images: 9 images are too few; at least 10 are needed")
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
    assert "points on the training domains" in printed
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
    assert "no interval: no training domain has played the new place; give the training data with --data" in printed
    other = place / "labeled"
    assert "is not the training data of" in refused(
        afield, "forecast", network, "--unlabeled", place / "valley", "--data", other
    )
    code, printed, _ = afield("forecast", network, "--unlabeled", place / "valley", "--data", place / "photos")
    assert code == 0
    assert "points on the training domains" in printed
    again = afield("forecast", network, "--unlabeled", place / "valley")
    assert again[1] == printed


def test_a_network_can_be_adapted_by_what_changes_it(place, network, tmp_path):
    adapted = package.adapt(model=network, unlabeled=place / "valley", out=tmp_path / "a", method="batch_norm+tent+t3a")
    before, _ = checkpoint.load(network / "model.safetensors")
    after, _ = checkpoint.load(tmp_path / "a" / "model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "backbone.stem.1.batch.running_mean" in changed
    assert "objective.head.weight" in changed
    assert "backbone.stem.0.weight" not in changed
    images = pixels(place / "valley")
    torch.testing.assert_close(package.load(tmp_path / "a").logits(images), adapted.model.logits(images))


def test_a_recipe_that_standardizes_is_used_with_the_statistics_of_all_training_images(place, tmp_path):
    recipe = {**FROZEN, "recipe": "erm+standardize"}
    package.train(data=str(place / "photos"), out=tmp_path / "site", **recipe)
    norm = package.load(tmp_path / "site").classifier.feature_norm
    source = Source.load(tmp_path / "site", package.load(tmp_path / "site"))
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
    assert old.endswith("has no statistics of its training data; give the data with --data")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_text("no image")
    assert "bad image" in refused(afield, "forecast", site, "--unlabeled", tmp_path / "bad")
    bad = ("--unlabeled", tmp_path / "bad", "--on-bad-image", "skip")
    assert afield("forecast", site, *bad)[0] == 2


def test_the_adaptations_are_listed(afield):
    code, printed, _ = afield("list", "adaptations")
    assert code == 0
    assert all(name in printed for name in ADAPTATIONS.names)


def test_labels_improve_the_model_where_it_was_wrong(afield, site, swapped, tmp_path):
    every = rows(swapped)
    write_labels(tmp_path / "labels.csv", [*every[:1], Row(every[1].path, "none of these", "chosen"), *every[2:]])
    out, labels = tmp_path / "a", ("--labels", tmp_path / "labels.csv")
    code, printed, err = afield("adapt", site, "--unlabeled", swapped, *labels, "--method", "none", "--out", out)
    assert code == 0, err
    audit = [row for row in every if row.purpose == "audit"]
    before, after = (
        sum(found.label == row.label for row, found in zip(audit, predicted, strict=True))
        for model in (site, out)
        for predicted in [package.load(model).predict([swapped / row.path for row in audit])]
    )
    assert before <= 7
    assert after >= 17
    shown = [
        f"{100 * right / 18:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        for right in (before, after)
        for low, high in [wilson(right, 18)]
    ]
    assert printed.splitlines()[:2] == [
        "not adapted, 36 images: as requested",
        "head refitted to 17 labels; accuracy on 18 audit images, % [95 % interval]: "
        f"{shown[0]} before, {shown[1]} after",
    ]
    measured = json.loads(afield("evaluate", out, "--data", swapped, *labels, "--json")[1])
    assert measured["accuracy"] == {"value": after / 18, "ci95": list(wilson(after, 18)), "n": 18}
    assert afield("predict", out, swapped)[1].count("cat") >= 12
    again = ("--unlabeled", swapped, *labels, "--out", tmp_path / "b")
    assert "is already adapted to swapped" in refused(afield, "adapt", out, *again)


def test_a_refitted_model_is_exported(site, swapped, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    write_labels(tmp_path / "labels.csv", rows(swapped))
    adapted = package.adapt(model=site, unlabeled=swapped, out=tmp_path / "a", labels=tmp_path / "labels.csv")
    package.export(tmp_path / "a", tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = pixels(swapped)
    (logits,) = session.run(["logits"], {"images": images})
    assert np.abs(logits - adapted.model.logits(images).numpy()).max() < 1e-3


def test_the_head_is_refitted_after_the_adaptation_and_to_its_features(site, swapped, tmp_path):
    chosen = [row for row in rows(swapped) if row.purpose == "chosen"]
    write_labels(tmp_path / "labels.csv", chosen)
    options = {"model": site, "unlabeled": swapped, "method": "standardize+t3a"}
    adapted = package.adapt(**options, out=tmp_path / "a").model
    found = package.adapt(**options, out=tmp_path / "b", labels=str(tmp_path / "labels.csv"))
    features = adapted.features(np.stack([adapted.pixels(swapped / row.path) for row in chosen]))
    paths, objective = tuple(row.path for row in chosen), adapted.classifier.objective
    expected = LabelingTask(swapped, paths, features, objective, adapted.class_names).refitted(chosen)
    torch.testing.assert_close(found.model.classifier.objective.state_dict(), expected.state_dict())
    torch.testing.assert_close(found.model.classifier.feature_norm.mean, adapted.classifier.feature_norm.mean)
    assert (found.labels, found.before, found.after) == (18, None, None)


def test_audit_labels_change_no_file_and_neither_does_an_interruption(afield, site, swapped, tmp_path, monkeypatch):
    true = rows(swapped)
    false = [row if row.purpose == "chosen" else Row(row.path, "dog", "audit") for row in true]
    for name, some in (("true", true), ("false", false)):
        write_labels(tmp_path / f"{name}.csv", some)
    options = ("--unlabeled", swapped, "--labels", tmp_path / "true.csv", "--out")
    printed = afield("adapt", site, *options, tmp_path / "a")[1]
    wrong = package.adapt(model=site, unlabeled=swapped, labels=tmp_path / "false.csv", out=tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert (wrong.labels, wrong.after.n) == (18, 18)
    assert wrong.after.value < 0.5
    with monkeypatch.context() as patched:
        patched.setattr(Source, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert afield("adapt", site, *options, tmp_path / "c")[0] == 130
    assert not (tmp_path / "c" / "model.json").exists()
    assert afield("adapt", site, *options, tmp_path / "c")[1] == printed.replace(
        f"{tmp_path / 'a'}", f"{tmp_path / 'c'}"
    )
    assert contents(tmp_path / "c") == contents(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,purpose\ncat-00.png,catt,chosen\n", "'catt'; did you mean 'cat'"),
        ("path,label,purpose\n../valley/cat-00.png,cat,chosen\n", "../valley/cat-00.png, which is not an image in"),
        ("path,label,purpose\ncat-00.png,cat,audit\ncat-01.png,,chosen\n", "has the purpose chosen and the label of"),
        ("file,class\ncat-00.png,cat\n", "needs the columns path, label, purpose; there is no column 'path'"),
        (None, "cannot read the label file"),
    ],
)
def test_a_bad_label_file_is_refused_before_any_work(afield, site, swapped, tmp_path, monkeypatch, text, message):
    monkeypatch.setattr("afield.deploy.place.read_place", None)
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    where = ("--unlabeled", swapped, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "a")
    assert message in refused(afield, "adapt", site, *where)
    assert not (tmp_path / "a").exists()


def test_names_of_files_are_shown_escaped_and_change_neither_terminal_nor_page(afield, place, site, tmp_path):
    hostile = tmp_path / "host[/b]ile"
    hostile.mkdir(parents=True)
    names = (b"\x1b[31mred.png", b"[red]cat.png", b"two\nlines.png", b"\xff.png")
    for name, image in zip(names, sorted((place / "valley").iterdir()), strict=False):
        shutil.copy(image, os.path.join(os.fsencode(hostile), name))
    (hostile / "\x1b[1mbad.png").write_bytes(b"no image")
    out = tmp_path / "[red]page"
    code, printed, err = afield("forecast", site, "--unlabeled", hostile, "--out", out, "--on-bad-image", "skip")
    assert code == 0, err
    page = (out / "report.html").read_text()
    assert "\x1b" not in printed + err + page
    assert r"\x1b[1mbad.png: not an image" in err
    unusual = next(line for line in printed.splitlines() if line.startswith("most unusual: "))
    shown = [name for name in (r"\x1b[31mred.png", "[red]cat.png", r"two\nlines.png", r"\udcff.png") if name in unusual]
    assert len(shown) == 3
    assert f"page: {out}/report.html" in printed
    assert all(name in page for name in (r"\x1b[31mred.png", "[red]cat.png", r"two\nlines.png", r"\udcff.png"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, state: state.pop("plays"), "lacks plays"),
        (lambda tensors, state: state.update(reference={}), "reference lacks accuracy, confidence, threshold"),
        (lambda tensors, state: state.update(plays=[{}]), r"plays\[0\] lacks domain"),
        (lambda tensors, state: tensors.pop("priors"), "does not contain the statistics of 1280 features"),
        (lambda tensors, state: tensors.update(priors=torch.ones(5) / 5), "the statistics of 1280 features"),
        (lambda tensors, state: tensors["mean/day"].fill_(torch.nan), "the statistics of 1280 features"),
        (lambda tensors, state: tensors.update({"count/day": torch.tensor(0)}), "the statistics of 1280 features"),
        (lambda tensors, state: tensors.update({"count/day": torch.ones(2)}), "the statistics of 1280 features"),
        (lambda tensors, state: tensors.update({"variance/day": torch.ones(9)}), "the statistics of 1280 features"),
    ],
)
def test_statistics_of_a_stranger_that_do_not_fit_are_refused(afield, place, site, tmp_path, change, message):
    shutil.copytree(site, tmp_path / "site")
    tensors, state = checkpoint.load(site / "adaptation.safetensors")
    change(tensors, state)
    checkpoint.save(tmp_path / "site" / "adaptation.safetensors", tensors, state)
    line = refused(afield, "forecast", tmp_path / "site", "--unlabeled", place / "valley")
    assert re.search(message, line), line


@pytest.mark.parametrize(("adapted", "message"), [([], "adapted must be an object"), ({"a": 1}, "already adapted to")])
def test_a_description_of_an_adapted_model_that_is_none_is_refused(afield, place, site, tmp_path, adapted, message):
    shutil.copytree(site, tmp_path / "site")
    file = tmp_path / "site" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "adapted": adapted}))
    assert message in refused(afield, "forecast", tmp_path / "site", "--unlabeled", place / "valley")
