"""Shares of a comparison, the Slurm script that deals them out, and the dry run that says what is left."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import tyro

import afield as package
from afield.amounts import duration
from afield.commands import Compare
from afield.commands.launching import as_words
from afield.comparison.grid import Share
from afield.records import read_summary

SMALL = {"recipes": ("erm",), "seeds": 1, "epochs": 1}


def test_all_shares_together_are_all_runs_each_once():
    runs = list(range(7))
    shares = [Share.parse(f"{number}/3").of(runs) for number in (1, 2, 3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]
    assert Share(1, 1).of(runs) == runs


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5"])
def test_a_share_that_is_none_is_refused_in_one_line(afield, tmp_path, text):
    code, _, err = afield("compare", "--out", tmp_path / "out", f"--share={text}")
    assert code == 2
    assert err.startswith("afield: --share must be NUMBER/COUNT with 1 <= NUMBER <= COUNT")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "ways",
    [
        ("--launcher", "ray", "--devices", "2"),
        ("--launcher", "slurm", "--jobs", "2"),
        ("--share", "1/2", "--jobs", "2"),
        ("--share", "1/2", "--launcher", "slurm"),
        ("--share", "1/2", "--dry-run"),
        ("--dry-run", "--devices", "2"),
    ],
)
def test_ways_to_divide_the_work_that_do_not_go_together_are_named(afield, tmp_path, ways):
    code, _, err = afield("compare", "--out", tmp_path / "out", *ways)
    assert code == 2
    assert "are mutually exclusive" in err
    assert all(way in err for way in ways if way.startswith("--"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"recipes": ("erm", "arcface"), "set": ("arcface.head_options.margin_rad=0.3",), "out": Path("a b")},
        {"freeze": True, "image_size": 48, "learning_rate": 0.5, "selection": "last", "ray_address": "a:1"},
    ],
)
def test_options_come_back_from_their_words(options):
    command = Compare(**options)
    assert tyro.cli(Compare, args=as_words(command)) == command


def test_the_tasks_of_the_slurm_script_do_the_runs_and_the_script_itself_the_summary(tmp_path, monkeypatch):
    alone = package.compare(**SMALL, out=tmp_path / "alone")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "with space"
    script = Path(package.compare(**SMALL, out=Path("with space"), launcher="slurm")["script"])
    assert script == out / "slurm.sh"
    assert not (out / "runs").exists()
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    text = script.read_text()
    assert "#SBATCH --array=1-4\n" in text
    assert "#SBATCH --cpus-per-task=1\n" in text
    monkeypatch.chdir("/")
    for task in (1, 3):
        done = len(list(out.glob("runs/*/done")))
        subprocess.run(["bash", script], check=True, env=os.environ | {"SLURM_ARRAY_TASK_ID": str(task)})
        assert len(list(out.glob("runs/*/done"))) == done + 1
        assert not (out / "summary.json").exists()
    subprocess.run(["bash", script], check=True)
    assert read_summary(out / "summary.json") == alone
    assert (out / "summary.json").read_text() == (tmp_path / "alone" / "summary.json").read_text()


def test_a_dry_run_says_what_is_left_and_keeps_nothing(afield, tmp_path):
    out = tmp_path / "out"
    plan = package.compare(**SMALL, out=out, dry_run=True)
    assert not out.exists()
    assert [run["state"] for run in plan["runs"]] == ["to do"] * 4
    assert plan["source"] == "a few steps and an evaluation of: erm, without black, seed 0"
    assert plan["total_s"] == pytest.approx(4 * plan["run_s"])
    assert 0.01 < plan["run_s"] < 60
    package.compare(**SMALL, out=out, share="2/4")
    (record,) = [json.loads(file.read_text()) for file in out.glob("runs/*/record.json")]
    before = sorted(out.rglob("*"))
    plan = package.compare(**SMALL, out=out, dry_run=True, jobs=2)
    assert sorted(out.rglob("*")) == before
    assert [run["state"] for run in plan["runs"]] == ["to do", "done", "to do", "to do"]
    assert plan["runs"][1]["run"] == record["run"]
    assert plan["source"] == "the median of 1 finished run"
    assert plan["run_s"] == pytest.approx(record["duration_s"], rel=0.05)  # domains are of nearly one size
    assert plan["total_s"] == pytest.approx(2 * plan["run_s"])
    arguments = ("--recipes", "erm", "--seeds", 1, "--epochs", 1, "--out", out, "--dry-run")
    code, printed, _ = afield("compare", *arguments)
    assert code == 0
    assert printed.splitlines()[1] == f"done   {record['run']} erm, without blue, seed 0"
    assert "3 of 4 runs are left, about " in printed


def test_a_dry_run_tries_an_algorithm_that_keeps_something_of_each_training_image(tmp_path):
    plan = package.compare(recipes=("mmld",), seeds=1, epochs=1, dry_run=True, out=tmp_path / "out")
    assert 0.01 < plan["run_s"] < 120


def test_a_dry_run_counts_the_features_that_are_missing(tmp_path):
    shared = {**SMALL, "backbone": "resnet8_ibn", "freeze": True, "out": tmp_path / "out"}
    plan = package.compare(**shared, dry_run=True)
    assert 0 < plan["features_s"] < 120
    package.compare(**shared, share="1/4")
    assert package.compare(**shared, dry_run=True)["features_s"] == 0


def test_a_duration_reads_as_people_say_it():
    assert [duration(s) for s in (0.34, 12.4, 75, 3599.6, 7500)] == [
        "0.3 s",
        "12 s",
        "1 min 15 s",
        "1 h 0 min",
        "2 h 5 min",
    ]
