"""The studies of heads and of unequal classes pair each recipe with its rivals."""

from __future__ import annotations

import json

from afield.records import read_json, read_jsonl
from tests.benchmarks.script import run, write_noise


def test_the_study_of_heads_goes_on_where_it_was_and_pairs_each_head_with_cross_entropy_and_arcface(tmp_path):
    write_noise(tmp_path / "cifar10.npz", train=200, test=200, classes=10)
    folders = ("--data", str(tmp_path), "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"))
    command = ("reliability.py", "--quick", "--study", "heads", "--sets", "cifar10", *folders)
    first = run(*command)
    records = read_jsonl(tmp_path / "out" / "heads-cifar10.jsonl")
    assert run(*command) == first
    assert read_jsonl(tmp_path / "out" / "heads-cifar10.jsonl") == records
    heads = ["linear", "cosine", "arcface", "cosface", "sphereface", "subcenter_arcface", "adacos"]
    assert [record["head"] for record in records] == heads
    found = {record["recipe"]: record for record in records}
    for row in read_json(tmp_path / "out" / "summary.json")["rows"]:
        for metric in ("accuracy", "map"):
            ours = found[row["recipe"]][metric]
            assert row[metric]["mean"] == ours
            assert row[f"{metric}_vs_ce"]["mean"] == ours - found["erm"][metric]
            assert row[f"{metric}_vs_arcface"]["mean"] == ours - found["arcface"][metric]


def test_imbalance_measures_each_recipe_after_its_last_epoch(tmp_path):
    write_noise(tmp_path / "cifar100.npz", train=6 * 500, test=6 * 4, classes=6)
    arguments = ("--data", tmp_path, "--out", tmp_path / "out", "--work", tmp_path / "runs", "--quick")
    result = json.loads(run("imbalance.py", *map(str, arguments)).splitlines()[-1])
    assert result["classes"] == 5
    assert result["points_over_erm"]["erm"] == 0
    records = read_jsonl(tmp_path / "out" / "records.jsonl")
    assert {record["recipe"] for record in records} == set(result["points_over_erm"])
    # 500, 158, 50, 16 and 5 images of the five classes; some of them are for validation.
    assert {sum(record["images"][part] for part in ("train", "validation")) for record in records} == {729}
    for record in records:
        assert record["selection"]["epoch"] == len(record["epochs"])
        assert set(record["details"]) == {"largest", "middle", "smallest"}
