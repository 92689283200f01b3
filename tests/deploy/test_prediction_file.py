"""Files of predictions: their columns, names as they are, and continuing after a kill."""

from __future__ import annotations

import csv
import json
import math
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import afield as package
from afield.deploy import prediction_file
from afield.deploy.predict import image_paths
from afield.deploy.prediction_columns import Columns
from afield.deploy.prediction_file import write_predictions
from afield.deploy.source import Source
from afield.training import checkpoint
from tests.command_line import refused

HEADER = "path,class,probability,margin,entropy,distance,review"
NAMES = ("Käuzchen, nachts.png", 'a "b".png', "ねこ.png", "two\nlines.png")


def read_csv(file: Path) -> list[dict[str, str]]:
    with open(file, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def model(photo_model):
    return package.load(photo_model)


def test_each_format_tells_the_same_about_each_image(afield, photo_model, photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    options = ("--threshold", 0.4, "--top-k", 3, "--embeddings")
    for suffix in ("csv", "jsonl", "parquet"):
        code, out, _ = afield("predict", photo_model, photos, "--out", tmp_path / f"x.{suffix}", *options)
        assert code == 0
        assert out.splitlines()[0] == f"{tmp_path / f'x.{suffix}'}: 72 rows"
    lines = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()]
    cells = read_csv(tmp_path / "x.csv")
    assert [*cells[0]] == [*HEADER.split(","), "class_2", "probability_2", "class_3", "probability_3", "embedding"]
    texts = {True: "true", False: "false"}
    assert cells == [
        {
            name: json.dumps(value) if isinstance(value, list) else texts[value] if name == "review" else str(value)
            for name, value in line.items()
        }
        for line in lines
    ]
    for row, line in zip(parquet.read_table(tmp_path / "x.parquet").to_pylist(), lines, strict=True):
        assert row.pop("embedding") == pytest.approx(line.pop("embedding"))
        assert row == line
    assert not list(tmp_path.glob("*partial*"))


def test_a_row_agrees_with_the_prediction_the_features_and_the_statistics(photo_model, model, photos, tmp_path):
    files, source = image_paths(photos / "night"), Source.load(photo_model, package.load(photo_model))
    columns = Columns(0.5, source.statistics, top_k=2, embeddings=True)
    write_predictions(model, files, tmp_path / "x.jsonl", columns, "error")
    rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    pixels = np.stack([model.pixels(file) for file in files])
    for row, found, features in zip(rows, model.predict(files), model.features(pixels), strict=True):
        first, second, third = sorted(found.probabilities.values(), reverse=True)
        assert row["path"] == found.path
        assert (row["class"], row["probability"]) == (found.label, pytest.approx(first, abs=1e-5))
        assert row["margin"] == pytest.approx(first - second, abs=1e-5)
        assert row["entropy"] == pytest.approx(-sum(p * math.log(p) for p in (first, second, third)), abs=1e-5)
        assert row["review"] == (row["probability"] < 0.5)
        assert found.probabilities[row["class_2"]] == pytest.approx(row["probability_2"], abs=1e-5)
        assert row["embedding"] == pytest.approx(features.tolist(), rel=1e-4, abs=1e-5)
        by_domain = [
            float((((features - one.mean) / one.std) ** 2).mean().sqrt()) for one in source.statistics.domains.values()
        ]
        assert row["distance"] == pytest.approx(min(by_domain), rel=1e-4)


def test_names_stay_as_they_are_except_control_characters(afield, photo_model, photos, tmp_path):
    names = NAMES if sys.platform != "win32" else NAMES[:1]
    for name in names:
        shutil.copy(photos / "day" / "cat" / "00.png", photos / "day" / name)
    afield("predict", photo_model, *[photos / "day" / name for name in names], "--out", tmp_path / "x.csv")
    text = (tmp_path / "x.csv").read_bytes().decode("utf-8")
    assert text.startswith(f"{HEADER}\n")
    assert len(text.splitlines()) == len(names) + 1
    assert "Käuzchen, nachts.png" in text
    assert [Path(row["path"]).name for row in read_csv(tmp_path / "x.csv")] == [
        name.replace("\n", "\\n") for name in names
    ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("end", [0, 30, 60, 500, 1000, -1])
def test_a_file_that_was_cut_anywhere_is_completed_to_the_same_rows(model, photos, tmp_path, suffix, end):
    files, file, columns = image_paths(photos / "day"), tmp_path / f"x.{suffix}", Columns(0.4, None)
    write_predictions(model, files, file, columns, "error")
    whole = file.read_bytes()
    file.write_bytes(whole[:end])
    kept = max(whole[:end].count(b"\n") - (suffix == "csv"), 0)
    written = write_predictions(model, files, file, columns, "error")
    assert (written.rows, written.kept) == (36, kept)
    assert written.review == whole.count(b"true")
    assert [line.split(b",")[:2] for line in file.read_bytes().splitlines()] == [
        line.split(b",")[:2] for line in whole.splitlines()
    ]


def test_a_complete_file_is_kept_and_new_images_are_added(afield, photo_model, photos, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    for file in (tmp_path / "x.csv", tmp_path / "x.parquet"):
        afield("predict", photo_model, photos / "day", "--out", file)
        _, out, _ = afield("predict", photo_model, photos / "day", photos / "night", "--out", file)
        assert out.splitlines()[0] == f"{file}: 72 rows, 36 of them were already there"
    paths = [row["path"] for row in read_csv(tmp_path / "x.csv")]
    assert paths == [str(path) for path in image_paths(photos / "day", photos / "night")]
    assert parquet.read_table(tmp_path / "x.parquet")["path"].to_pylist() == paths


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_rows_survive_kill_9(photo_model, photos, tmp_path):
    """The process kills itself after its second batch of four images, in the middle of a row."""
    program = (
        "import os, signal, sys\n"
        "import afield.deploy.predict as predict, afield.deploy.prediction_formats as formats\n"
        "predict.BATCH, line = 4, formats.Csv.line\n"
        "def dying(self, row):\n"
        "    if row['path'].endswith('08.png'):\n"
        "        file = open(sys.argv[-1], 'a'); file.write(line(self, row)[:20]); file.close()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return line(self, row)\n"
        "formats.Csv.line = dying\n"
        "from afield.cli import main; main(sys.argv[1:])"
    )
    arguments = ["predict", str(photo_model), str(photos / "day"), "--out", str(tmp_path / "x.csv")]
    killed = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    left = (tmp_path / "x.csv").read_text()
    assert len(left.splitlines()) == 10
    assert not left.endswith("\n")
    done = subprocess.run([sys.executable, "-m", "afield", *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == f"{tmp_path / 'x.csv'}: 36 rows, 8 of them were already there"
    assert (tmp_path / "x.csv").read_text().startswith(left[: left.rindex("\n") + 1])
    assert [row["path"] for row in read_csv(tmp_path / "x.csv")] == list(map(str, image_paths(photos / "day")))


def test_images_are_decoded_as_they_are_needed(model, photos, tmp_path, monkeypatch):
    """At most a batch of images, and one more that is decoded in advance, is ahead of the rows on disk."""
    monkeypatch.setattr("afield.deploy.predict.BATCH", 4)
    decoded, file, most = [], tmp_path / "x.csv", 0
    read, rows = type(model).pixels, prediction_file._rows

    def counted(self, path):
        decoded.append(path)
        return read(self, path)

    def watched(*arguments):
        nonlocal most
        most = max(most, len(decoded) - max(file.read_text().count("\n") - 1, 0))
        return rows(*arguments)

    monkeypatch.setattr(type(model), "pixels", counted)
    monkeypatch.setattr(prediction_file, "_rows", watched)
    done = []
    images = image_paths(photos)
    write_predictions(model, images, file, Columns(None, None), "error", lambda *some: done.append(some))
    assert 4 <= most <= 9
    assert done == [(count, 72) for count in range(4, 73, 4)]
    assert {row["review"] for row in read_csv(file)} == {""}


def test_other_contents_are_not_continued(afield, photo_model, photos, tmp_path):
    file, arguments = tmp_path / "x.csv", ("predict", photo_model, photos / "day", "--out", tmp_path / "x.csv")
    assert afield(*arguments, "--threshold", 0.4)[0] == 0
    before = file.read_bytes()
    other = f"{file} has other columns or another threshold; choose another --out or remove the file"
    assert other in refused(afield, *arguments, "--threshold", 0.4, "--top-k", 2)
    assert other in refused(afield, *arguments, "--threshold", 0.99)
    shutil.copytree(photo_model, tmp_path / "model")
    tensors, state = checkpoint.load(tmp_path / "model" / "model.safetensors")
    tensors["objective.head.weight"] = -tensors["objective.head.weight"]
    checkpoint.save(tmp_path / "model" / "model.safetensors", tensors, state)
    again = ("predict", tmp_path / "model", *arguments[2:], "--threshold", 0.4)
    assert f"{file} contains predictions of another model" in refused(afield, *again)
    assert file.read_bytes() == before
    file.write_bytes(b"\xff\xfe\n")
    assert other in refused(afield, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "x.txt"), "--out x.txt: the name must end with .csv, .jsonl or .parquet"),
        (("--top-k", 2), "--top-k needs --out FILE"),
        (("--embeddings",), "--embeddings needs --out FILE"),
        (("--threshold", 0.5), "--threshold needs --out FILE"),
        (("--out", "x.csv", "--top-k", 4), "--top-k must be a whole number between 1 and 3, got 4"),
    ],
)
def test_options_that_do_not_fit_are_refused(afield, photo_model, photos, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(afield, "predict", photo_model, photos, *arguments)
    assert not list(tmp_path.glob("x.*"))


def test_predict_without_images_says_so(afield, photo_model):
    message = "no images to predict; give image files or folders: afield predict MODEL IMAGES"
    assert message in refused(afield, "predict", photo_model)


def test_a_skipped_image_has_no_row(afield, photo_model, photos, tmp_path):
    (photos / "day" / "cat" / "03.png").write_text("no image")
    arguments = ("predict", photo_model, photos / "day", "--out", tmp_path / "x.csv", "--on-bad-image", "skip")
    code, out, err = afield(*arguments)
    assert code == 0
    assert "35 rows" in out
    assert "skipped: bad image" in err
    assert len(read_csv(tmp_path / "x.csv")) == 35
