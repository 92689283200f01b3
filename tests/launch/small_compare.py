"""A comparison of eight short runs, in a process of its own or in this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from afield.cli import main

FAST = ("--epochs", "1", "--seeds", "1", "--recipes", "erm", "arcface", "--data", "digits")


def start(out: Path, *arguments: str) -> subprocess.Popen[bytes]:
    program = "import sys; from afield.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "compare", "--out", str(out), *FAST, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(out: Path, *arguments: str) -> str:
    """The summary of a comparison in this process."""
    main(["compare", "--out", str(out), *FAST, *arguments])
    return (out / "summary.json").read_text()
