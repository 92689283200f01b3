"""The study of searched policies has a search for each search seed."""

from __future__ import annotations

import json
import runpy
import shutil

import pytest

from afield.records import read_json, read_jsonl
from tests.benchmarks.script import FOLDER, run, write_noise


def test_policies_go_on_where_they_were_with_a_search_for_each_search_seed(tmp_path):
    write_noise(tmp_path / "cifar10.npz", train=200, test=200, classes=10)
    folders = ("--data", str(tmp_path), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"))
    counts = ("--seeds", "1", "--searches", "2", "--rivals", "dagan")
    command = ("fast_autoaugment.py", "--quick", *counts, *folders)
    first, records = json.loads(run(*command).splitlines()[-1]), read_jsonl(tmp_path / "out" / "records.jsonl")
    shutil.rmtree(tmp_path / "work")
    assert json.loads(run(*command).splitlines()[-1]) == first
    assert read_jsonl(tmp_path / "out" / "records.jsonl") == records
    assert not (tmp_path / "work" / "runs").exists()
    assert first["same_images"] == {"0": True, "1": True}
    found = {(record["augment"], record.get("search")): record for record in records}
    searched = [(name, number) for number in (0, 1) for name in ("found", "crop_flip + found")]
    assert list(found) == [("none", None), ("crop_flip", None), ("crop_flip + dagan", None), *searched]
    assert found["crop_flip + dagan", None]["search_s"] > 0
    assert found["found", 0]["search_s"] == first["search_s"]["0"]
    digests = read_json(tmp_path / "out" / "summary.json")["policies"]
    assert digests["0"] != digests["1"]
    for name, number in searched:  # a run knows its policy by its content
        assert digests[str(number)] in found[name, number]["config"]["recipe"]["augment"]


def test_the_gain_of_searched_policies_is_averaged_over_training_seeds_and_then_over_search_seeds(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    script = runpy.run_path(str(FOLDER / "fast_autoaugment.py"))
    values = {("none", None): (0.50, 0.52), ("crop_flip", None): (0.56, 0.56)}
    values |= {("found", 0): (0.55, 0.59), ("found", 1): (0.54, 0.54), ("found", 2): (0.60, 0.60)}
    lines = [
        {"augment": name, "seed": seed, "accuracy": accuracy, "search_s": 0.0, "search": number}
        for (name, number), pair in values.items()
        for seed, accuracy in enumerate(pair)
    ]
    rows = script["summarize"](lines)
    assert [list(row["over"]) for row in rows] == [[], ["none"], *[["none", "crop_flip"]] * 3]
    assert rows[2]["over"]["none"]["mean"] == pytest.approx(0.06)  # 0.05 and 0.07
    (found,) = script["over_searches"](rows)
    assert [gain["none"] for gain in found["gains"].values()] == pytest.approx([0.06, 0.03, 0.09])
    assert [gain["crop_flip"] for gain in found["gains"].values()] == pytest.approx([0.01, -0.02, 0.04])
    assert found["over"]["none"]["n"] == 3
    half = 4.30265 * 0.03 / 3**0.5  # the quantile of t with two degrees of freedom
    assert found["over"]["none"]["ci95"] == pytest.approx([0.06 - half, 0.06 + half], abs=1e-6)
