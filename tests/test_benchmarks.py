"""The benchmarks start, say what they take, and (those that need no data) end with a line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "ignore", str(FOLDER / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.py")))
def test_a_benchmark_says_what_it_takes_and_has_a_quick_form(name):
    assert "--quick" in run(name, "--help")


def test_objectives_ends_with_a_line_of_json_that_holds_its_ratios():
    result = json.loads(run("objectives.py", "--quick").splitlines()[-1])
    assert result["benchmark"] == "objectives"
    assert set(result["heads"]) == set(result["flattening"]) == {"1000", "10000"}
    assert result["heads"]["1000"]["linear"] == {"time": 1.0, "memory": 1.0}
    assert result["heads"]["10000"]["arcface"]["memory"] < 1.15  # bytes that PyTorch asked for: no timing
    assert all(value for name, value in result["precision"].items() if name.endswith("finite"))
    assert result["precision"]["float32 gradient error"] < 5e-7


def test_augment_ends_with_a_line_of_json_that_holds_its_ratios():
    result = json.loads(run("augment.py", "--quick").splitlines()[-1])
    policies = {"TrivialAugmentWide", "RandAugment"}
    assert set(result["32 px, batch 128"]) == policies
    assert set(result["224 px, batch 32"]) == policies | {"crop + flip + normalise"}
    for setting in ("32 px, batch 128", "224 px, batch 32"):
        assert all(row["ratio"] > 1 for row in result[setting].values())
