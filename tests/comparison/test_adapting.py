"""A comparison of recipes that adapt, from the command line to the report."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from afield.cli import main
from tests.conftest import write_photos
from tests.killed import command

ARGUMENTS = ("--image-size", "16", "--epochs", "4", "--seeds", "1", "--batch-size", "12", "--adapt-fraction", "0.5")
RECIPES = ("erm", "mcd", "cdan+standardize", "erm+standardize+t3a")


def compare(data: Path, out: Path, *arguments: str) -> list[str]:
    return ["compare", "--data", str(data), "--out", str(out), *ARGUMENTS, "--recipes", *RECIPES, *arguments]


def finish(data: Path, out: Path, *arguments: str) -> str:
    main(compare(data, out, *arguments))
    return (out / "summary.json").read_text()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("places") / "photos", ("dawn", "day", "night"))


@pytest.fixture(scope="module")
def alone(places: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "out"
    finish(places, out)
    return out


def test_every_recipe_is_tested_on_the_same_half_and_the_report_says_so(alone):
    summary = json.loads((alone / "summary.json").read_text())
    said = "50 % of each unseen domain is given without labels; all recipes are tested on the other images"
    assert summary["protocol"] == said
    assert said in (alone / "report.html").read_text()
    records = [json.loads(line) for line in (alone / "records.jsonl").read_text().splitlines()]
    assert len(records) == 3 * len(RECIPES)
    for domain in ("dawn", "day", "night"):
        same = [record for record in records if record["held_out"] == [domain]]
        assert len({record["split_hash"] for record in same}) == 1
        assert [record["images"][f"test/{domain}"] for record in same] == [18] * len(RECIPES)
        assert [record["images"][f"adapt/{domain}"] for record in same] == [18] * len(RECIPES)


def test_two_at_a_time_give_the_same_summary(alone, places, tmp_path):
    assert finish(places, tmp_path / "out", "--jobs", "2") == (alone / "summary.json").read_text()


def test_killed_at_random_moments_it_gives_the_same_summary(alone, places, tmp_path):
    out, draw = tmp_path / "out", random.Random(0)
    for _ in range(3):
        at, delay = draw.randint(1, 100), draw.uniform(0, 0.02)
        end = command(tmp_path, *compare(places, out), watched="out/runs", at=at, delay=delay)
        assert end.killed, end.said
    assert finish(places, out) == (alone / "summary.json").read_text()


def test_transductive_results_are_labeled(afield, photos, tmp_path):
    small = ("--image-size", 16, "--epochs", 1, "--seeds", 1, "--recipes", "t3a")
    code, printed, err = afield("compare", "--data", photos, *small, "--transductive", "--out", tmp_path / "out")
    assert code == 0, err
    assert "TRANSDUCTIVE: recipes that adapt see the test images themselves" in " ".join(printed.split())
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["protocol"].startswith("TRANSDUCTIVE")
    assert "TRANSDUCTIVE" in (tmp_path / "out" / "report.html").read_text()


def test_training_alone_has_no_new_place(afield, photos, tmp_path):
    small = ("--image-size", 16, "--epochs", 1)
    code, _, err = afield("train", "--data", photos, *small, "--recipe", "dann", "--out", tmp_path / "out")
    assert code == 2
    assert "recipe 'dann' adapts to unlabeled images of the unseen domain; `afield compare` gives it" in err
    code, _, err = afield("train", "--data", photos, *small, "--recipe", "erm+standardize", "--out", tmp_path / "out")
    assert code == 0, err
    assert (tmp_path / "out" / "model.json").exists()
