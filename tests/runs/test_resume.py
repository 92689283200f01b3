"""A run that was killed anywhere ends as one that was not, bit for bit but for times."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from afield.training import checkpoint
from tests.command_line import FAST


def start(out: Path, *arguments: object, checkpoint_seconds: float | None = None) -> subprocess.Popen[bytes]:
    """``afield compare`` in a process of its own."""
    program = "import sys; from afield.cli import main; main(sys.argv[1:])"
    if checkpoint_seconds is not None:
        program = f"import afield.training.loop as loop; loop.CHECKPOINT_SECONDS = {checkpoint_seconds}; {program}"
    command = [sys.executable, "-c", program, "compare", "--out", out, *arguments]
    return subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def timeless(out: Path) -> tuple[str, list[dict]]:
    """Summary and records without times."""
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    for record in records:
        del record["duration_s"]
    return (out / "summary.json").read_text(), records


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    process = start(out, *FAST)
    _, err = process.communicate()
    assert process.returncode == 0, err.decode()
    return out


@pytest.mark.parametrize("attempt", range(3))
def test_killed_at_a_random_moment_the_same_command_gives_the_same_result(uninterrupted, tmp_path, attempt):
    out = tmp_path / "out"
    moments = random.Random(attempt)
    deaths = 0
    for _ in range(3):
        process = start(out, *FAST, checkpoint_seconds=0)
        while process.poll() is None and not list(out.glob("runs/*")):
            time.sleep(0.05)
        time.sleep(moments.uniform(0, 2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        deaths += process.returncode == -signal.SIGKILL
    assert deaths
    process = start(out, *FAST)
    _, err = process.communicate()
    assert process.returncode == 0, err.decode()
    assert timeless(out) == timeless(uninterrupted)
    assert not list(out.glob("runs/*/checkpoint.safetensors"))


def test_a_second_process_on_the_same_folder_says_so_and_stops(tmp_path):
    out = tmp_path / "out"
    first = start(out, *FAST)
    while first.poll() is None and not list(out.glob("runs/*")):
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = start(out, *FAST)
        _, err = second.communicate(timeout=60)
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 2
    assert f"afield: {out} is in use by another afield process" in err.decode()


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
