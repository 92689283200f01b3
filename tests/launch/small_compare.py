"""A comparison of two runs in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FAST = ("--epochs", "1", "--seeds", "1", "--recipes", "erm", "arcface", "--data", "digits")


def start(out: Path, *arguments: str) -> subprocess.Popen[bytes]:
    program = "import sys; from afield.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "compare", "--out", str(out), *FAST, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(out: Path, *arguments: str) -> str:
    process = start(out, *arguments)
    _, err = process.communicate()
    assert process.returncode == 0, err.decode()
    return (out / "summary.json").read_text()
