"""A comparison of eight short runs, in a process of its own or in this one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from afield.cli import main

RECIPES = ("erm", "arcface")
FAST = ("--epochs", "1", "--seeds", "1", "--data", "digits", "--recipes")


def start(out: Path, *arguments: str) -> subprocess.Popen[bytes]:
    program = "import sys; from afield.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "compare", "--out", str(out), *FAST, *RECIPES, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(out: Path, *arguments: str, recipes: Sequence[str] = RECIPES) -> str:
    """The summary of a comparison in this process."""
    main(["compare", "--out", str(out), *FAST, *recipes, *arguments])
    return (out / "summary.json").read_text()
