"""Benchmarks as scripts in processes of their own, and small files of images for them."""

from __future__ import annotations

import os
import runpy
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests import forks

FOLDER = Path(__file__).parents[2] / "benchmarks"
STREAMS = ("stdout", "stderr")


def run(name: str, *arguments: str) -> str:
    """Run a benchmark, which must succeed; returns its standard output."""
    with tempfile.TemporaryDirectory() as folder:
        process = forks.start(_run, FOLDER / name, arguments, Path(folder))
        process.join()
        out, err = ((Path(folder) / each).read_text() for each in STREAMS)
    assert process.exitcode == 0, err
    return out


def _run(script: Path, arguments: Sequence[str], folder: Path) -> None:
    for number, name in enumerate(STREAMS, start=1):
        stream = open(folder / name, "w", buffering=1)  # noqa: SIM115
        os.dup2(stream.fileno(), number)  # also for the processes of the script
        setattr(sys, name, stream)
    warnings.simplefilter("ignore")
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.parent))
    runpy.run_path(str(script), run_name="__main__")


def write_noise(path: Path, *, train: int, test: int, classes: int | Sequence[str], side: int = 32) -> None:
    """Write images of noise to an ``.npz`` file like that of CIFAR-10; `classes` is their number, or their names."""
    names = [f"class {i}" for i in range(classes)] if isinstance(classes, int) else classes
    rng, arrays = np.random.default_rng(0), {"class_names": np.array(names)}
    for split, count in (("train", train), ("test", test)):
        arrays[f"{split}_images"] = rng.integers(256, size=(count, side, side, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % len(names)
    np.savez(path, **arrays)
