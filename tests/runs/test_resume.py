"""A run that was killed anywhere ends as one that was not, bit for bit but for times."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
import torch

from afield.cli import main
from afield.records import exclusive
from afield.training import checkpoint
from tests.command_line import FAST
from tests.killed import command


def compare(out: Path) -> list[str]:
    return ["compare", "--out", str(out), *map(str, FAST)]


def timeless(out: Path) -> tuple[str, list[dict]]:
    """Summary and records without times."""
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    for record in records:
        del record["duration_s"]
    return (out / "summary.json").read_text(), records


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    main(compare(out))
    return out


def test_killed_again_and_again_the_same_command_gives_the_same_result(uninterrupted, tmp_path):
    out, draw = tmp_path / "out", random.Random(0)
    for _ in range(5):
        at, delay = draw.randint(1, 40), draw.uniform(0, 0.02)
        end = command(tmp_path, *compare(out), watched="out/runs", at=at, delay=delay)
        assert end.killed, end.said
    end = command(tmp_path, *compare(out))
    assert end.code == 0, end.said
    assert timeless(out) == timeless(uninterrupted)
    assert not list(out.glob("runs/*/checkpoint.safetensors"))


def test_a_second_process_on_the_same_folder_says_so_and_stops(tmp_path):
    out = tmp_path / "out"
    with exclusive(out):
        end = command(tmp_path, *compare(out))
    assert end.code == 2
    assert f"afield: {out} is in use by another afield process" in end.said
    assert not list(out.glob("runs/*"))


def test_a_checkpoint_holds_tensors_and_state_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    tensors = {"a/weight": torch.randn(3, 2, 4, 4).to(memory_format=torch.channels_last), "b": torch.arange(3)}
    checkpoint.save(path, tensors, {"epoch": 3, "loss": 0.1})
    found, state = checkpoint.load(path)
    assert state == {"epoch": 3, "loss": 0.1}
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, {"b": torch.zeros(5)}, {})
    assert checkpoint.load(path)[1] == {"epoch": 3, "loss": 0.1}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
