"""The studies of labeling pair each strategy with random choice."""

from __future__ import annotations

import json
import runpy

import numpy as np
import pytest

from afield.evaluation import estimate
from afield.records import read_json, read_jsonl
from tests.benchmarks.script import FOLDER, run, write_noise
from tests.conftest import write_photos


def test_labeling_goes_on_where_it_was_and_pairs_each_strategy_with_random(tmp_path):
    root = write_photos(tmp_path / "photos")
    options = ("--quick", "--backbone", "resnet8", "--weights", "none", "--image-size", "16", "--jobs", "1")
    command = ("labeling.py", "--data", str(root), *options, "--out", str(tmp_path / "out"))
    first, again = (json.loads(run(*command).splitlines()[-1]) for _ in range(2))
    assert first == again
    rows, records = read_json(tmp_path / "out" / "summary.json")["rows"], read_jsonl(tmp_path / "out" / "records.jsonl")
    assert len(records) == 3 * 2 * 2

    def mean(strategy, budget):
        return np.mean([each["accuracy"][budget] for each in records if each["strategy"] == strategy])

    for strategy, row in rows.items():
        average = row["average"]["6"]
        assert average["accuracy"]["mean"] == pytest.approx(mean(strategy, "6"))
        assert average["vs_random"]["mean"] == pytest.approx(mean(strategy, "6") - mean("random", "6"))
        assert row["average"]["0"]["vs_random"]["mean"] == 0
    assert first["average"]["random"]["6"] > first["average"]["random"]["0"]
    assert (tmp_path / "out" / "curves.svg").read_text().startswith("<svg xmlns")


def test_learning_loss_goes_on_where_it_was_and_its_strategies_begin_with_the_same_labels(tmp_path):
    write_noise(tmp_path / "small.npz", train=120, test=40, classes=4, side=16)
    out = tmp_path / "out"
    command = (
        "learning_loss.py",
        "--quick",
        "--device",
        "cpu",
        "--data",
        str(tmp_path / "small.npz"),
        "--out",
        str(out),
    )
    first = json.loads(run(*command).splitlines()[-1])
    records = read_jsonl(out / "records.jsonl")
    (out / "cycles" / "core_set-1-0.json").unlink()
    (out / "cycles" / "learning_loss-1-1.json").unlink()
    assert json.loads(run(*command).splitlines()[-1]) == first
    assert [record | {"seconds": 0} for record in read_jsonl(out / "records.jsonl")] == [
        record | {"seconds": 0} for record in records
    ]
    found = {(record["strategy"], record["seed"], record["cycle"]): record for record in records}
    assert len(found) == len(records) == 4 * 2 * 2
    for seed in (0, 1):
        starts = [found[name, seed, 0] for name in ("random", "entropy", "core_set", "learning_loss")]
        assert len({record["accuracy"] for record in starts[:3]}) == 1
        assert all(len({*record["chosen"]}) == 10 for record in starts)
        assert len({tuple(record["chosen"]) for record in starts}) == 4
    rows = read_json(out / "summary.json")["rows"]
    for name, row in rows.items():
        accuracy, rival = ([found[each, seed, 1]["accuracy"] for seed in (0, 1)] for each in (name, "random"))
        assert row["30"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracy))
        assert row["30"]["vs_random"]["mean"] == pytest.approx(np.mean(accuracy) - np.mean(rival))


def test_the_claim_of_learning_loss_holds_where_its_interval_lies_above_zero():
    judge = runpy.run_path(str(FOLDER / "learning_loss.py"))["judge"]
    gains = {"random": [0.01, 0.02, 0.03], "entropy": [-0.01, 0.01, 0.03], "core_set": [-0.01, -0.02, -0.03]}
    verdicts = judge({name: estimate(values) for name, values in gains.items()} | {"alone": estimate([0.1])})
    assert {name: str(verdict) for name, verdict in verdicts.items()} == {
        "random": "not reproduced (interval contains zero)",  # 0.02 -+ 4.303 * 0.01 / sqrt(3)
        "entropy": "not reproduced (interval contains zero)",
        "core_set": "not reproduced (interval contains zero)",
        "alone": "not comparable (no interval with fewer than three seeds)",
    }
    assert str(judge({"random": estimate([0.02, 0.021, 0.022])})["random"]) == "reproduced"
    assert str(judge({"random": estimate([-0.02, -0.021, -0.022])})["random"]) == "not reproduced (opposite direction)"
