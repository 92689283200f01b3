"""Benchmarks of speed and memory end with a line of JSON that holds their ratios."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from tests.benchmarks.script import run


def test_objectives_ends_with_a_line_of_json_that_holds_its_ratios():
    result = json.loads(run("objectives.py", "--quick").splitlines()[-1])
    assert result["benchmark"] == "objectives"
    assert set(result["heads"]) == set(result["flattening"]) == {"1000", "10000"}
    assert result["heads"]["1000"]["linear"] == {"time": 1.0, "memory": 1.0}
    assert result["heads"]["10000"]["arcface"]["memory"] < 1.15  # bytes that PyTorch asked for: no timing
    assert all(value for name, value in result["precision"].items() if name.endswith("finite"))
    assert result["precision"]["float32 gradient error"] < 5e-7


def test_allocator_compares_processes_with_and_without_the_setting():
    result = json.loads(run("allocator.py", "--quick", "--tasks", "features").splitlines()[-1])
    (row,) = result["tasks"].values()
    speeds = [row[kind]["images_per_cpu_second"] for kind in ("default", "kept")]
    assert row["speed_ratio"] == pytest.approx(speeds[1] / speeds[0], abs=0.01)
    assert min(row[kind]["peak_mib"] for kind in ("default", "kept")) > 50


def test_decode_compares_reduced_with_full_pixels(tmp_path):
    china = Image.fromarray(load_sample_image("china.jpg")[:424])
    for number, picture in enumerate((china, china.resize((1408, 1408)))):
        picture.save(tmp_path / f"{number}.jpg", quality=90)
    result = json.loads(run("decode.py", str(tmp_path), "--quick").splitlines()[-1])
    assert result["files"] == 2
    for rows in result["sizes"].values():
        assert rows["full"]["full_over_this"] == 1
        assert rows["full"]["largest_difference"] == 0 < rows["ours"]["largest_difference"] < 10
        assert rows["ours"]["mean_difference"] < 0.3
    reduced = result["sizes"]["224"]["ours"]
    assert 0 < reduced["features_difference"] < 0.1
    assert reduced["same_class"] == 2


def test_augment_ends_with_a_line_of_json_that_holds_its_ratios():
    result = json.loads(run("augment.py", "--quick").splitlines()[-1])
    policies = {"TrivialAugmentWide", "RandAugment"}
    assert set(result["32 px, batch 128"]) == policies
    assert set(result["224 px, batch 32"]) == policies | {"crop + flip + normalize"}
    for setting in ("32 px, batch 128", "224 px, batch 32"):
        for row in result[setting].values():
            ours, peer, ratio = row.values()
            assert ratio == pytest.approx(ours / peer)
    assert result["learned"]["ratio"] == result["learned"]["augmentor"] / result["learned"]["step"]


def test_frozen_features_are_extracted_once_and_give_the_same_summary(photos):
    options = ("--quick", "--jobs", "1", "--backbone", "resnet8", "--weights", "none")
    result = json.loads(run("frozen.py", "--data", str(photos), *options).splitlines()[-1])
    assert result["identical_summary"]
    assert result["warm_median_s"] == sorted(result["warm_s"])[1]


def test_inference_gives_the_former_features_and_a_ratio_for_each_task(photos):
    options = ("--quick", "--backbone", "resnet8", "--weights", "none")
    result = json.loads(run("inference.py", "--data", str(photos), *options).splitlines()[-1])
    assert result["difference"] <= 1e-4 < result["difference_bf16"]
    for task in ("extract", "predict"):
        for threads in (1, 2):
            rates = result[f"{task}, {threads} threads"]
            assert rates["former"]["cpu"] == rates["former"]["wall"] == 1
            assert rates["ours"]["cpu"] == rates["ours"]["images_per_cpu_s"] / rates["former"]["images_per_cpu_s"]
    assert result["effect_bf16"]["n"] == 32
