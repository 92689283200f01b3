"""The benchmarks start, say what they take, and (those that need no data) end with a line of JSON."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from afield.algorithms import ALGORITHMS, AVERAGINGS
from afield.evaluation import estimate
from afield.records import read_json, read_jsonl
from tests.conftest import write_photos

FOLDER = Path(__file__).parent.parent / "benchmarks"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", str(FOLDER / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.py") if "__main__" in path.read_text()))
def test_a_benchmark_says_what_it_takes_and_has_a_quick_form(name, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", [name, "--help"])
    monkeypatch.syspath_prepend(FOLDER)  # as where a script is started: benchmarks import each other
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert end.value.code == 0
    assert "--quick" in capsys.readouterr().out


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


def test_algorithms_ends_with_a_line_of_json_that_holds_the_ratio_of_each():
    result = json.loads(run("algorithms.py", "--quick").splitlines()[-1])
    assert set(result["time_over_erm"]) == {*ALGORITHMS.names, *AVERAGINGS.names}
    assert result["time_over_erm"]["erm"] == 1


def test_domainbed_says_in_a_sentence_that_its_copy_is_missing(tmp_path):
    command = [sys.executable, "-W", "ignore", str(FOLDER / "domainbed.py"), "--domainbed", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: there is no copy of DomainBed in {tmp_path}: it has no file domainbed/algorithms.py\n"
    )


def test_fast_cifar_trains_each_for_its_time_and_goes_on_where_it_was(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 60), ("test", 20)):
        arrays[f"{split}_images"] = rng.integers(256, size=(count, 12, 12, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 2
    np.savez(tmp_path / "small.npz", **arrays)
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


def test_augment_ends_with_a_line_of_json_that_holds_its_ratios():
    result = json.loads(run("augment.py", "--quick").splitlines()[-1])
    policies = {"TrivialAugmentWide", "RandAugment"}
    assert set(result["32 px, batch 128"]) == policies
    assert set(result["224 px, batch 32"]) == policies | {"crop + flip + normalize"}
    for setting in ("32 px, batch 128", "224 px, batch 32"):
        assert all(row["ratio"] > 1 for row in result[setting].values())
    assert result["learned"]["ratio"] == result["learned"]["augmentor"] / result["learned"]["step"]


def write_noise(path: Path) -> None:
    """Write an ``.npz`` file like that of CIFAR-10, with 200 images of noise in each split."""
    rng, arrays = np.random.default_rng(0), {}
    for split in ("train", "test"):
        arrays[f"{split}_images"] = rng.integers(256, size=(200, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(200) % 10
    np.savez(path, **arrays)


def test_the_study_of_heads_goes_on_where_it_was_and_pairs_each_head_with_cross_entropy_and_arcface(tmp_path):
    write_noise(tmp_path / "cifar10.npz")
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


def test_policies_go_on_where_they_were_with_a_search_for_each_search_seed(tmp_path):
    write_noise(tmp_path / "cifar10.npz")
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


def test_the_study_of_learned_augmentation_goes_on_where_it_was_and_compares_pairs(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 500), ("test", 40)):
        arrays[f"{split}_images"] = rng.integers(256, size=(count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 10
    np.savez(tmp_path / "cifar10.npz", **arrays)
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


def test_large_measures_each_part_at_each_size_and_writes_a_record_of_each(tmp_path):
    result = json.loads(run("large.py", "--quick", "--out", str(tmp_path)).splitlines()[-1])
    images, classes, domains = (read_json(tmp_path / f"{part}.json") for part in ("images", "classes", "domains"))
    assert {name: images[name] for name in result["images"]} == result["images"]
    assert images["file_MB"] == [4000 * 16 * 16 * 3 / 1e6, 8000 * 16 * 16 * 3 / 1e6]
    ratio = images["cpu_s"][1] / images["cpu_s"][0]
    assert 2 ** images["growth"] == pytest.approx(ratio)
    assert classes["ms_a_step"] == pytest.approx([1e3 * seconds / 3 for seconds in classes["cpu_s"]])
    assert domains["runs"] == [6, 12]
    assert {"splits", "dry run", "comparison, all done", "report"} < set(domains)


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
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 120), ("test", 40)):
        arrays[f"{split}_images"] = rng.integers(256, size=(count, 16, 16, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 4
    np.savez(tmp_path / "small.npz", **arrays)
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


def test_imbalance_measures_each_recipe_after_its_last_epoch(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"class_names": np.array([f"class {i}" for i in range(6)])}
    for split, count in (("train", 500), ("test", 4)):
        arrays[f"{split}_images"] = rng.integers(256, size=(6 * count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.repeat(np.arange(6), count)
    np.savez(tmp_path / "cifar100.npz", **arrays)
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


def test_the_gpu_script_runs_each_part_and_repeats_nothing(tmp_path):
    folders = ("--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"))
    command = ("gpu.py", "--smoke", "--minutes", "30", "--jobs", "2", *folders)
    first = run(*command)
    assert "7 of 7 units are done" in first
    (card,) = (tmp_path / "out").iterdir()
    parts = {name.partition("/")[0] for name in read_json(card / "done.json")}
    assert parts == {"tests", "pacs", "margin", "cifar94", "augmentation", "throughput"}
    records = read_jsonl(card / "pacs" / "records.jsonl")
    assert len(records) == len({record["run"] for record in records}) == 2 * 2 * 2
    assert set(read_json(card / "pacs" / "summary.json")["recipes"]) == {"erm", "flattening"}
    assert read_json(card / "cifar94.json")["rows"][0]["accuracy"]["n"] == 2
    before = {path: path.stat().st_mtime_ns for path in card.rglob("*")}
    assert run(*command).startswith("7 of 7 units are done")
    assert {path: path.stat().st_mtime_ns for path in card.rglob("*")} == before


def test_a_gpu_unit_that_does_not_fit_is_passed_over_for_later_ones(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    script = runpy.run_path(str(FOLDER / "gpu.py"))
    units = [script["Unit"]("pacs", name, seconds) for name, seconds in (("a", 60), ("b", 90), ("c", 30))]
    start = script["START_S"]
    assert [unit.name for unit in script["fitting"](units, start + 100)] == ["a", "c"]
    assert [unit.name for unit in script["fitting"](units, start + 59)] == ["c"]


def test_pacs_runs_with_a_record_are_not_trained_again_without_their_folders(tmp_path, capsys, monkeypatch):
    write_photos(tmp_path / "pacs", size=16)
    monkeypatch.syspath_prepend(FOLDER)
    command = ["gpu_pacs.py", "--quick", "--device", "cpu", "--data", str(tmp_path), "--out", str(tmp_path / "out")]

    def trained(work):
        monkeypatch.setattr("sys.argv", [*command, "--recipes", "erm", "--work", str(tmp_path / work)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(FOLDER / "gpu_pacs.py"), run_name="__main__")
        assert end.value.code == 0
        return capsys.readouterr().out.count("seed"), (tmp_path / "out" / "records.jsonl").read_bytes()

    (first, records), (second, same) = trained("one"), trained("another")
    assert (first, second) == (4, 0)
    assert records == same


def test_a_bundle_has_parts_of_a_limited_size_and_unpacks_to_the_same_images(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    bundle = runpy.run_path(str(FOLDER / "gpu_bundle.py"))
    images = np.full((1500, 32, 32, 3), 7, np.uint8)
    images[1200:] = 200
    arrays = {"class_names": np.array(["cat", "dog"])}
    for split in ("train", "test"):
        arrays |= {f"{split}_images": images, f"{split}_labels": np.arange(1500) % 2}
    np.savez(tmp_path / "cifar10.npz", **arrays)
    files = [*bundle["sheets"](tmp_path, "cifar10")]
    limit = max(len(content) for _, content in files) + 20_000
    (tmp_path / "parts").mkdir()
    parts = list(bundle["write_parts"](tmp_path / "parts", "cifar10", iter(files), limit))
    assert len(parts) > 1
    assert all(path.stat().st_size <= limit for path in parts)
    bundle["unpack"](tmp_path / "parts", tmp_path / "new")
    for name, values in np.load(tmp_path / "new" / "cifar10.npz").items():
        assert np.array_equal(values, arrays[name])  # these plain images survive JPEG


def test_translation_goes_on_where_it_was_and_pairs_each_arm_with_erm(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"class_names": np.array(["airplane", "automobile", "bird", "deer", "dog", "horse", "ship"])}
    for split, count in (("train", 60), ("test", 6)):
        arrays[f"{split}_images"] = rng.integers(256, size=(7 * count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.repeat(np.arange(7), count)
    np.savez(tmp_path / "cifar10.npz", **arrays)
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
