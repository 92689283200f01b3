"""The time to an accuracy on CIFAR-10 is measured beside other networks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from afield.records import read_json, read_jsonl
from tests.benchmarks.script import run, write_noise


def test_fast_cifar_trains_each_for_its_time_and_goes_on_where_it_was(tmp_path):
    write_noise(tmp_path / "small.npz", train=30, test=10, classes=2, side=12)
    out = ("--out", str(tmp_path / "out"))
    command = ("fast_cifar.py", "--quick", "--threads", "1", "--data", str(tmp_path / "small.npz"), *out, "--seeds")
    assert json.loads(run(*command, "0", "1", "--time-budget", "0").splitlines()[-1])["contestants"] == {}
    first, again = (json.loads(run(*command, "0", "1").splitlines()[-1]) for _ in range(2))
    assert first == again
    assert list(first["contestants"]) == ["fast_cifar", "ResNet-8", "ResNet-18"]
    records = read_jsonl(tmp_path / "out" / "records.jsonl")
    found = {(record["contestant"], record["seed"]): record["accuracy"] for record in records}
    for row in read_json(tmp_path / "out" / "summary.json")["rows"]:
        name = row["contestant"]
        assert row["accuracy"]["mean"] == pytest.approx((found[name, 0] + found[name, 1]) / 2)
        if name != "fast_cifar":
            gain = [found["fast_cifar", seed] - found[name, seed] for seed in (0, 1)]
            assert row["fast_cifar_over_accuracy"]["mean"] == pytest.approx(np.mean(gain))
    for record in records:
        seen = record["images"]["train"] * record["epochs"]
        assert record["images_per_second"] == pytest.approx(seen / record["training_s"], rel=0.1)
        assert record["training"]["epochs"] == record["epochs"]
        fastest = max(record["rates_before"], key=record["rates_before"].get)
        assert record["training"]["precision"] == fastest
