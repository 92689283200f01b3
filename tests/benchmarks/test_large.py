"""The trial with large data measures each part at each size."""

from __future__ import annotations

import json
import runpy

import pytest

from afield.records import read_json
from tests.benchmarks.script import FOLDER, run


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


def test_growth_is_the_exponent_between_the_two_largest_sizes_command_by_command(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    columns = runpy.run_path(str(FOLDER / "large.py"))["columns"]
    costs = [
        {"cpu_s": seconds, "peak_MB": megabytes} for seconds, megabytes in ((5.0, 90.0), (6.0, 100.0), (24.0, 103.0))
    ]
    rows = [{"runs": count, "report": cost} for count, cost in zip((2, 20, 40), costs, strict=True)]
    found = columns((1, 10, 20), rows)
    assert found == {
        "runs": [2, 20, 40],
        "report": {"cpu_s": [5, 6, 24], "peak_MB": [90, 100, 103], "growth": pytest.approx(2), "bytes_each": 300_000},
    }
