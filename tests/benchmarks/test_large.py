"""The trial with large data measures each part at each size."""

from __future__ import annotations

import json

import pytest

from afield.records import read_json
from tests.benchmarks.script import run


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
