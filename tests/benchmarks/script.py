"""Benchmarks as scripts in processes of their own, and small files of images for them."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(name: str, *arguments: str) -> str:
    """Run a benchmark, which must succeed, in a forked process; returns its standard output.

    A forked process does not import the libraries again, which takes several seconds.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        files = (out.fileno(), err.fileno())
        process = multiprocessing.get_context("fork").Process(target=_run, args=(name, arguments, *files))
        process.start()
        process.join()
        said, complaint = (os.pread(file, os.fstat(file).st_size, 0).decode() for file in files)
    assert process.exitcode == 0, complaint
    return said


def _run(name: str, arguments: Sequence[str], out: int, err: int) -> None:
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = os.fdopen(out, "w"), os.fdopen(err, "w")
    sys.argv, sys.path = [str(FOLDER / name), *arguments], [str(FOLDER), *sys.path]
    warnings.simplefilter("ignore")  # pytest makes errors of them, also in a forked process
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.stdout.flush()


def write_noise(path: Path, *, train: int, test: int, classes: int | Sequence[str], side: int = 32) -> None:
    """Write images of noise to an ``.npz`` file like that of CIFAR-10; `classes` is their number, or their names."""
    names = [f"class {i}" for i in range(classes)] if isinstance(classes, int) else classes
    rng, arrays = np.random.default_rng(0), {"class_names": np.array(names)}
    for split, count in (("train", train), ("test", test)):
        arrays[f"{split}_images"] = rng.integers(256, size=(count, side, side, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % len(names)
    np.savez(path, **arrays)
