"""Time and memory with up to a million images, a million classes and a thousand domains, and how they grow.

    python benchmarks/large.py [--parts images classes domains] [--quick] [--out FOLDER]

- **images**: one epoch of ResNet-8 on images of 16 px in a memory-mapped file (768 MB for a million), of which at most
  64 MB are in memory, and the evaluation of a tenth of them. Nothing is decoded.
- **classes**: 100 steps of Partial FC with a tenth of the classes in each step: forward, backward and SGD with
  momentum for 128 examples of 64 features.
- **domains**: a comparison of two recipes in which each domain of 14 images is held out once. Measured are all splits
  of a seed, the dry run, the comparison of finished runs (it reads all runs and writes summary, analysis and report)
  and the report. The runs are made as in ``many_runs.py``.

Each size has a forked process of its own with one thread. ``peak_MB`` is its largest resident memory, and ``start_MB``
that before the measured work, of which the libraries have most. ``growth`` is the exponent of CPU time between the two
largest sizes: 1 if it is proportional to the number, and less while a fixed part counts. ``bytes_each`` is the
additional memory between these sizes, divided by the additional number. Each part is written to a file of its own in
FOLDER. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from many_runs import commands, write_images, write_runs
from scaling import growth, noise

from afield.commands.compare import Compare
from afield.data import Validation, load, make_fold
from afield.data.images import ImageSet
from afield.heads import PartialFCHead
from afield.models import BackboneConfig
from afield.objective import Objective
from afield.recipes import RECIPES
from afield.records import write_json
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import execute
from afield.runs.provenance import provenance
from afield.runs.run import Run
from afield.training import SparseSGD

SIZES = {"images": (100_000, 300_000, 1_000_000), "classes": (10_000, 100_000, 1_000_000), "domains": (10, 100, 1000)}
QUICK = {"images": (4000, 8000), "classes": (1000, 2000), "domains": (3, 6)}
SIDE, MEMORY, QUICK_MEMORY, CHUNK = 16, 64 * 10**6, 2 * 10**6, 50_000
BATCH, FEATURES, STEPS, QUICK_STEPS = 128, 64, 100, 3
DOMAIN_IMAGES, DOMAIN_CLASSES, DOMAIN_RECIPES = 14, 7, ("erm", "label_smoothing")

Figures = dict[str, Any]


def peak_megabytes() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measured(work: Callable[[], object]) -> Figures:
    """CPU and wall seconds of some work, and the largest resident memory before and after it."""
    start, cpu, wall = peak_megabytes(), time.process_time(), time.monotonic()
    work()
    return {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.monotonic() - wall,
        "start_MB": start,
        "peak_MB": peak_megabytes(),
    }


def mapped_noise(file: Path, count: int) -> ImageSet:
    """Images of noise in a memory-mapped file, ten classes."""
    rng = np.random.default_rng(0)
    with open(file, "wb") as out:
        shape = (count, SIDE, SIDE, 3)
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, count, CHUNK):
            out.write(rng.bytes(min(CHUNK, count - start) * SIDE * SIDE * 3))
    return noise(np.load(file, mmap_mode="r"))


def images(count: int, quick: bool) -> Figures:
    """An epoch on `count` memory-mapped images."""
    with tempfile.TemporaryDirectory() as folder:
        data = mapped_noise(Path(folder) / "images.npy", count)
        training = choose_training("scratch", epochs=1, batch_size=64, augment="crop_flip")
        memory = QUICK_MEMORY if quick else MEMORY
        setup = ExperimentConfig(data, BackboneConfig("resnet8"), False, Validation(), training, memory)
        run = Run(setup, RECIPES["erm"], (), 0)
        found = measured(lambda: execute(run, Path(folder) / "run", Fabric(accelerator="cpu", devices=1)))
    return {
        **found,
        "file_MB": data.images.nbytes / 1e6,
        "limit_MB": memory / 1e6,
        "images_per_s": count / found["cpu_s"],
    }


def classes(count: int, quick: bool) -> Figures:
    """Training steps of a sampled head with `count` classes."""
    steps = QUICK_STEPS if quick else STEPS
    objective = Objective(PartialFCHead(FEATURES, count), {"cross_entropy": 1.0})
    optimizer = SparseSGD(objective.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    features, targets = torch.randn(BATCH, FEATURES), torch.randint(count, (BATCH,))

    def step() -> None:
        objective(features, targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # creates the momentum
    found = measured(lambda: [step() for _ in range(steps)])
    return {**found, "steps": steps, "ms_a_step": 1e3 * found["cpu_s"] / steps}


def domains(count: int, quick: bool) -> Figures:
    """The commands of a comparison that holds out `count` domains in turn."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AFIELD_CACHE"] = f"{folder}/cache"
        photos = Path(folder) / "images"
        write_images(photos, count, DOMAIN_CLASSES, DOMAIN_IMAGES)
        options = Compare(
            data=str(photos),
            recipes=DOMAIN_RECIPES,
            seeds=1,
            epochs=5,
            image_size=SIDE,
            backbone="resnet8",
            device="cpu",
            threads=1,
            out=Path(folder) / "comparison",
        )
        data = load(str(photos), image_size=SIDE)
        splits = measured(lambda: [make_fold(data, (name,), Validation(), 0) for name in data.domain_names])
        runs = write_runs(options, Path(folder) / "one")
        return {"runs": runs, "splits": splits, **commands(options)}


PARTS: dict[str, Callable[[int, bool], Figures]] = {"images": images, "classes": classes, "domains": domains}


def in_a_process(part: str, size: int, quick: bool) -> Figures:
    """The figures of a part at one size, from a forked process, which has imported the libraries and nothing else."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(PARTS[part], (size, quick))


def columns(sizes: tuple[int, ...], rows: list[Figures]) -> Figures:
    """Each figure at all sizes, and the growth; those of the commands by command."""
    table: Figures = {}
    for name, first in rows[0].items():
        values = [row[name] for row in rows]
        table[name] = columns(sizes, values) if isinstance(first, dict) else values
    if "cpu_s" in table:
        table["growth"] = growth(sizes, table["cpu_s"])
        table["bytes_each"] = 1e6 * (table["peak_MB"][-1] - table["peak_MB"][-2]) / (sizes[-1] - sizes[-2])
    return table


def main() -> None:
    """Measure the parts one after another, and print the tables and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--out", type=Path, help="also write each part, with hardware and versions, to this folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: Figures = {"benchmark": "large"}
    print(f"{'part':10}{'what':24}{'number':>11}{'CPU, s':>10}{'wall, s':>10}{'peak, MB':>10}")
    for part in args.parts:
        sizes, rows = (QUICK if args.quick else SIZES)[part], []
        for size in sizes:
            rows.append(in_a_process(part, size, args.quick))
            works = {what: row for what, row in rows[-1].items() if isinstance(row, dict)} or {"": rows[-1]}
            for what, row in works.items():
                figures = f"{row['cpu_s']:>10.2f}{row['wall_s']:>10.2f}{row['peak_MB']:>10.0f}"
                print(f"{part:10}{what:24}{size:>11,}{figures}", flush=True)
        result[part] = {"sizes": sizes, **columns(sizes, rows)}
        if args.out:
            write_json(args.out / f"{part}.json", {"benchmark": "large", **result[part], **provenance()})
    print(json.dumps(result))


if __name__ == "__main__":
    main()
