"""The script for a GPU runs each part once, and its bundle unpacks to the same images."""

from __future__ import annotations

import runpy

import numpy as np
import pytest

from afield.records import read_json, read_jsonl
from tests.benchmarks.script import FOLDER, run
from tests.conftest import write_photos


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
