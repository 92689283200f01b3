"""The studies of learned augmentation and of translation pair each arm with a baseline."""

from __future__ import annotations

import json

import pytest

from afield.records import read_json, read_jsonl
from tests.benchmarks.script import run, write_noise


def test_the_study_of_learned_augmentation_goes_on_where_it_was_and_compares_pairs(tmp_path):
    write_noise(tmp_path / "cifar10.npz", train=500, test=40, classes=10)
    arms = ("none", "default", "random affine, matched")
    command = ("learned_augmentation.py", "--quick", "--data", str(tmp_path / "cifar10.npz"), "--arms", *arms)
    found = [run(*command, "--work", str(tmp_path / "work"), "--out", str(tmp_path / f"{i}")) for i in range(2)]
    results = [json.loads(text.splitlines()[-1]) for text in found]
    assert results[0] == results[1]
    rows = {row["arm"]: row for row in read_json(tmp_path / "0" / "summary.json")["rows"]}
    assert list(rows) == list(arms)
    assert rows["random affine, matched"]["distance"]["mean"] == pytest.approx(
        rows["default"]["distance"]["mean"], rel=0.2
    )
    difference = rows["default"]["accuracy"]["mean"] - rows["none"]["accuracy"]["mean"]
    assert rows["default"]["vs none"]["mean"] == pytest.approx(difference)
    records = read_jsonl(tmp_path / "0" / "records.jsonl")
    assert records == read_jsonl(tmp_path / "1" / "records.jsonl")


def test_translation_goes_on_where_it_was_and_pairs_each_arm_with_erm(tmp_path):
    classes = ("airplane", "automobile", "bird", "deer", "dog", "horse", "ship")
    write_noise(tmp_path / "cifar10.npz", train=7 * 60, test=7 * 6, classes=classes)
    command = ("translation.py", "--quick", "--data", str(tmp_path), "--work", str(tmp_path / "runs"), "--out")
    first, again = (json.loads(run(*command, str(tmp_path / f"{i}")).splitlines()[-1]) for i in range(2))
    assert first == again
    assert list(first["percent"]) == ["erm", "class_weights", "class_balanced_sampling", "dagan", "translation"]
    records = {record["recipe"]: record for record in read_jsonl(tmp_path / "0" / "records.jsonl")}
    assert list(records.values()) == read_jsonl(tmp_path / "1" / "records.jsonl")
    assert records["translation"]["learned"]["settings"]["targets"] == "deer,dog"
    # 40 images of each of four classes and 10 of each of two; some of them are for validation.
    images = records["erm"]["images"]
    assert (images["train"] + images["validation"], images["test/test"]) == (4 * 40 + 2 * 10, 6 * 4)
    found = read_json(tmp_path / "0" / "summary.json")["arms"]
    for arm, record in records.items():
        details = record["details"]
        assert found[arm]["rare"]["mean"] == pytest.approx(details["rare"])
        difference = details["rare"] - records["erm"]["details"]["rare"]
        assert found[arm]["rare over erm"]["mean"] == pytest.approx(difference, abs=1e-6)
        balanced = record["epochs"][-1]["test"]["test"]["balanced_accuracy"]
        assert balanced == pytest.approx((4 * details["common"] + 2 * details["rare"]) / 6, abs=1e-5)
