"""``afield label`` and ``afield evaluate --labels``, without the page."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import afield as package
from afield.commands import Label
from afield.data.cache import cache_root
from afield.deploy.label import labeling_task
from afield.errors import InputError
from afield.evaluation import wilson
from afield.labeling import STRATEGIES
from afield.labeling.label_file import Row, read_labels
from afield.labeling.label_studio import read_annotations
from afield.labeling.select import DEFAULT_STRATEGY
from tests.command_line import refused
from tests.conftest import write_photos


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "site", ("night",)) / "night"


def read(file: Path) -> list[dict[str, str]]:
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def label_all(file: Path) -> None:
    """Label every row by the folder of its image."""
    rows = read(file)
    with open(file, "w", newline="") as opened:
        writer = csv.DictWriter(opened, ("path", "label", "purpose"))
        writer.writeheader()
        writer.writerows({**row, "label": row["path"].split("/")[0]} for row in rows)


def test_a_label_file_is_written_filled_in_and_measures_the_model(afield, photo_model, site, tmp_path):
    file = tmp_path / "labels.csv"
    code, out, err = afield("label", photo_model, site, "--count", 9, "--audit", 10, "--csv", file, "--no-page")
    assert code == 0, err
    assert "labels for 0 of 10 audit images and 0 of 9 chosen images" in out
    rows = read(file)
    assert Counter(row["purpose"] for row in rows) == {"audit": 10, "chosen": 9}
    assert all((site / row["path"]).is_file() and row["label"] == "" for row in rows)

    label_all(file)
    code, out, err = afield("evaluate", photo_model, "--data", site, "--labels", file, "--json")
    assert code == 0, err
    result = json.loads(out)
    audited = [row["path"] for row in read(file) if row["purpose"] == "audit"]
    predicted = package.load(photo_model).predict([site / path for path in audited])
    right = sum(each.label == path.split("/")[0] for each, path in zip(predicted, audited, strict=True))
    assert result["accuracy"] == {"value": right / 10, "ci95": list(wilson(right, 10)), "n": 10}
    assert sum(each["n"] for each in result["recall"].values()) == 10
    assert result["to_halve"] > 10

    code, out, _ = afield("evaluate", photo_model, "--data", site, "--labels", file)
    assert code == 0
    low, high = (100 * end for end in wilson(right, 10))
    assert f"{10 * right:.1f} [{low:.1f}, {high:.1f}]" in out
    assert f"{result['to_halve']} more audit labels would halve the interval" in out


def test_the_same_command_changes_nothing_and_a_larger_count_keeps_the_labels(afield, photo_model, site, tmp_path):
    command = ("label", photo_model, site, "--csv", tmp_path / "labels.csv", "--no-page", "--count")
    afield(*command, 6, "--audit", 4)
    label_all(tmp_path / "labels.csv")
    afield(*command, 6)
    before = read(tmp_path / "labels.csv")
    assert Counter(row["purpose"] for row in before) == {"audit": 4, "chosen": 6}
    code, out, _ = afield(*command, 8)
    assert code == 0
    assert "labels for 4 of 4 audit images and 6 of 8 chosen images" in out
    assert read(tmp_path / "labels.csv")[:10] == before


@pytest.mark.parametrize("strategy", sorted({*STRATEGIES.names} - {"learning_loss"}))
def test_every_strategy_can_be_named(afield, photo_model, site, tmp_path, strategy):
    options = ("--count", 5, "--audit", 0, "--strategy", strategy, "--csv", tmp_path / "a.csv", "--no-page")
    code, _, err = afield("label", photo_model, site, *options)
    assert code == 0, err
    assert len(read(tmp_path / "a.csv")) == 5


def test_the_default_strategy_is_that_of_select():
    assert Label(Path(), Path()).strategy == DEFAULT_STRATEGY


def test_features_are_computed_once(afield, photo_model, site, tmp_path, monkeypatch):
    command = ("label", photo_model, site, "--count", 3, "--audit", 2, "--no-page", "--csv")
    afield(*command, tmp_path / "first.csv")
    monkeypatch.setattr("afield.deploy.model.Model.backbone_features", None)
    code, _, err = afield(*command, tmp_path / "second.csv")
    assert code == 0, err
    assert afield("forecast", photo_model, "--unlabeled", site)[0] == 0
    assert read(tmp_path / "first.csv") == read(tmp_path / "second.csv")


def test_training_data_and_sequences_can_be_given(afield, photo_model, site, tmp_path):
    file = tmp_path / "labels.csv"
    command = ("label", photo_model, site, "--csv", file, "--no-page", "--strategy", "structured")
    afield(*command, "--count", 8, "--audit", 0)
    label_all(file)
    names = "".join(f"{row['path']},burst\n" for row in read(file))
    (tmp_path / "sequences.csv").write_text("path,sequence\n" + names)
    data = ("--data", photo_model.parent / "photos", "--sequences", tmp_path / "sequences.csv")
    code, _, err = afield(*command, "--count", 10, *data)
    assert code == 0, err
    assert len(read(file)) == 10


def test_label_studio_gets_tasks_and_gives_labels(afield, photo_model, site, tmp_path):
    command = ("label", photo_model, site, "--count", 4, "--audit", 2, "--no-page", "--csv", tmp_path / "labels.csv")
    afield(*command, "--tasks", tmp_path / "tasks.json")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    assert [task["data"]["path"] for task in tasks] == [row["path"] for row in read(tmp_path / "labels.csv")]
    for task in tasks[:3]:
        task["annotations"] = [{"result": [{"value": {"choices": ["owl"]}}]}]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    code, _, err = afield(*command, "--annotations", tmp_path / "export.json")
    assert code == 0, err
    assert sorted(row["label"] for row in read(tmp_path / "labels.csv")) == ["", "", "", "owl", "owl", "owl"]


def test_bad_images_stop_or_are_passed_over(afield, photo_model, site, tmp_path):
    (site / "cat" / "bad.png").write_bytes(b"no image")
    command = ("label", photo_model, site, "--count", 36, "--audit", 0, "--near-duplicates", "--no-page")
    assert "bad.png" in refused(afield, *command, "--csv", tmp_path / "labels.csv")
    code, _, err = afield(*command, "--csv", tmp_path / "labels.csv", "--on-bad-image", "skip")
    assert code == 0, err
    assert "bad.png" in err
    assert "cat/bad.png" not in {row["path"] for row in read(tmp_path / "labels.csv")}
    assert "bad.png" in refused(afield, *command, "--csv", tmp_path / "labels.csv")  # also after features are cached


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--count", 0), "--count must be a whole number between 1 and"),
        (("--audit", -1), "--audit must be a whole number between 0 and"),
        (("--strategy", "entropie"), "unknown strategy 'entropie'; did you mean 'entropy'"),
        (("--strategy", "learning_loss"), "strategy learning_loss needs a model that predicts losses, and"),
        (("--count", 500), "has 36 more images, fewer than the 530 to select"),
        (("--annotations", "no.json"), "no file no.json"),
        (("--sequences", "no.csv"), "cannot read the sequences no.csv"),
    ],
)
def test_bad_options_are_refused(afield, photo_model, site, tmp_path, options, message):
    command = ("label", photo_model, site, "--no-page", "--csv", tmp_path / "labels.csv")
    count = () if "--count" in options else ("--count", 3)
    assert message in refused(afield, *command, *count, *options)
    assert not (tmp_path / "labels.csv").exists()


def test_a_file_in_place_of_a_folder_is_refused(afield, photo_model, site, tmp_path):
    file = next(site.rglob("*.png"))
    assert "give the folder of the images to label" in refused(
        afield, "label", photo_model, file, "--csv", tmp_path / "a.csv"
    )


def test_the_page_says_which_package_it_needs(afield, photo_model, site, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else object())
    said = refused(afield, "label", photo_model, site, "--csv", tmp_path / "labels.csv")
    assert "the page needs the package uvicorn: pip install 'afield[label]'" in said


def test_a_model_is_not_measured_by_chosen_images(afield, photo_model, site, tmp_path):
    file = tmp_path / "labels.csv"
    afield("label", photo_model, site, "--count", 4, "--audit", 0, "--csv", file, "--no-page")
    label_all(file)
    said = refused(afield, "evaluate", photo_model, "--data", site, "--labels", file)
    assert "no labeled image of the label file has the purpose audit, and its 4 chosen images" in said
    shutil.rmtree(site)
    file.write_text("path,label,purpose\ncat/00.png,cat,audit\n")
    assert "cannot read" in refused(afield, "evaluate", photo_model, "--data", site, "--labels", file)


def test_features_go_on_where_they_were_interrupted(photo_model, site, monkeypatch):
    from afield.deploy.label import labeling_task
    from afield.deploy.model import Model

    loaded, calls = package.load(photo_model), []
    monkeypatch.setattr("afield.deploy.features.BATCH", 10)
    compute = Model.backbone_features

    def interrupted(model, images):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(model, images)

    monkeypatch.setattr(Model, "backbone_features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        labeling_task(loaded, site)
    task = labeling_task(loaded, site)
    assert calls == [10, 10, 10, 10, 6]
    pixels = np.stack([loaded.pixels(site / path) for path in task.paths])
    np.testing.assert_allclose(task.features, loaded.features(pixels), atol=1e-5)


def damage(file: Path, kind: str) -> None:
    content = file.read_bytes()
    changed = {"truncated": content[: len(content) // 2], "empty": b"", "flipped": content[:-1] + b"\x01"}
    file.write_bytes(changed[kind]) if kind in changed else file.unlink()


@pytest.mark.parametrize("kind", ["truncated", "empty", "flipped", "missing"])
@pytest.mark.parametrize("name", ["features.npy", "state.json"])
def test_damaged_features_of_a_place_are_computed_again(photo_model, site, name, kind, recwarn):
    model, first = package.load(photo_model), []
    for _ in range(3):
        first.append(labeling_task(model, site).features)
        assert torch.equal(first[-1], first[0])
        (file,) = cache_root().rglob(f"image-features/*/{name}")
        damage(file, kind)
    said = any("are damaged; they are discarded and extracted again" in str(each.message) for each in recwarn)
    assert said == ((name, kind) != ("state.json", "missing"))


def test_a_bad_image_is_an_error_also_after_it_was_skipped_and_a_mended_one_is_read(photo_model, site):
    model, bad = package.load(photo_model), site / "cat" / "00.png"
    content = bad.read_bytes()
    bad.write_bytes(b"no image")
    assert len(labeling_task(model, site, on_bad_image="skip").paths) == 35
    with pytest.raises(InputError, match=r"bad image .*00\.png: not an image"):
        labeling_task(model, site)
    bad.write_bytes(content)
    assert len(labeling_task(model, site).paths) == 36


def test_an_error_of_the_machine_is_no_verdict_on_an_image(photo_model, site, monkeypatch):
    model = package.load(photo_model)

    def fail(content: bytes, size: tuple[int, int]) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("afield.deploy.features.decode_square", fail)
        with pytest.raises(MemoryError):
            labeling_task(model, site, on_bad_image="skip")
    assert len(labeling_task(model, site, on_bad_image="skip").paths) == 36


def test_a_dangling_link_is_a_bad_image(photo_model, site):
    model = package.load(photo_model)
    (site / "cat" / "linked.png").symlink_to(site / "nowhere.png")
    with pytest.raises(InputError, match=r"linked\.png: the target of the link is missing"):
        labeling_task(model, site)
    assert len(labeling_task(model, site, on_bad_image="skip").paths) == 36
    shutil.copy(site / "cat" / "00.png", site / "nowhere.png")
    assert "cat/linked.png" in labeling_task(model, site, on_bad_image="skip").paths


def test_a_name_that_a_label_file_cannot_hold_is_refused(photo_model, site):
    shutil.copy(site / "cat" / "00.png", os.path.join(os.fsencode(site), b"\xff.png"))
    with pytest.raises(InputError, match="the name is not UTF-8, as label files are; rename the file"):
        labeling_task(package.load(photo_model), site)


def test_labels_are_compared_in_one_normal_form(tmp_path):
    (tmp_path / "l.csv").write_text("path,label\na.png,Ba\u0308r\n")
    assert read_labels(tmp_path / "l.csv", ["B\u00e4r"]) == [Row("a.png", "B\u00e4r", "chosen")]
    choice = [{"value": {"choices": ["Ba\u0308r"]}}]
    (tmp_path / "l.json").write_text(json.dumps([{"data": {"path": "a.png"}, "annotations": [{"result": choice}]}]))
    assert read_annotations(tmp_path / "l.json", ["B\u00e4r"]) == [Row("a.png", "B\u00e4r", "chosen")]


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_label_file_has_no_columns(tmp_path, text):
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match="needs the columns path, label, purpose; there is no column 'path'"):
        read_labels(tmp_path / "l.csv", ["cat"])
