"""Benchmarks as scripts in processes of their own, and small files of images for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(name: str, *arguments: str) -> str:
    """Run a benchmark, which must succeed; returns its standard output."""
    command = [sys.executable, "-W", "ignore", str(FOLDER / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_noise(path: Path, *, train: int, test: int, classes: int | Sequence[str], side: int = 32) -> None:
    """Write images of noise to an ``.npz`` file like that of CIFAR-10; `classes` is their number, or their names."""
    names = [f"class {i}" for i in range(classes)] if isinstance(classes, int) else classes
    rng, arrays = np.random.default_rng(0), {"class_names": np.array(names)}
    for split, count in (("train", train), ("test", test)):
        arrays[f"{split}_images"] = rng.integers(256, size=(count, side, side, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % len(names)
    np.savez(path, **arrays)
