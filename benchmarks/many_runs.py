"""Time and memory of the commands on a comparison of up to 5,000 runs, by the number of runs, with fitted lines.

    python benchmarks/many_runs.py [--quick] [--out FILE]

A comparison of 20 recipes on tiny images of 10 domains, with 5, 10 and 25 seeds. One run is trained. The folders of the
other runs are made from it: its record with other metrics, and random logits. Measured are the commands that a user
waits for: the dry run before any run is done, the dry run when all are done, the comparison when all are done (it reads
all runs and writes summary, analysis and report) and the report, each in its own process with one thread.

``cpu_s`` is CPU time, ``wall_s`` wall time, ``peak_MB`` the largest resident memory. Lines are fitted by least squares
(see `scaling.line`). The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scaling import line

from afield.commands.compare import Compare
from afield.commands.launching import as_words
from afield.records import Epoch, Record, write_json, write_record
from afield.runs.callback import SILENT
from afield.runs.execute import DONE, PREDICTIONS, RECORD, execute
from afield.runs.provenance import provenance
from afield.runs.run import Run
from afield.training import checkpoint

RECIPES = [
    "erm",
    "label_smoothing",
    "flattening",
    "focal",
    "confidence_penalty",
    "complement_entropy",
    "guided_complement_entropy",
    "normalized_softmax",
    "arcface",
    "cosface",
    "sphereface",
    "subcenter_arcface",
    "adacos",
    "arcface_linear",
    "arcface_flattening",
    "class_weights",
    "logit_adjustment",
    "balanced_softmax",
    "coral",
    "groupdro",
]
SIZE = 16
SIZES = {"domains": 10, "classes": 7, "images": 100, "recipes": 20, "epochs": 30, "seeds": (5, 10, 25)}
MEASURED = """
import resource, sys
from afield.cli import main
try:
    main()
finally:
    used = resource.getrusage(resource.RUSAGE_SELF)
    (peak,) = [row.split()[1] for row in open("/proc/self/status") if row.startswith("VmHWM")]
    print(used.ru_utime + used.ru_stime, peak)
"""
"""Runs a command, and prints its CPU seconds and its largest resident memory in kB."""
QUICK = {"domains": 3, "classes": 2, "images": 12, "recipes": 2, "epochs": 2, "seeds": (1, 2)}


def write_images(folder: Path, domains: int, classes: int, images: int) -> None:
    """Noise as PNG files, `images` for each domain, of classes in turn."""
    rng = np.random.default_rng(0)
    for domain in range(domains):
        for number in range(images):
            file = folder / f"domain {domain:03}" / f"class {number % classes}" / f"{number:05}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)).save(file)


def write_runs(options: Compare, folder: Path) -> int:
    """Write the folders of all runs, as if they were done, from one run of one epoch. Returns the number of runs."""
    _, runs = options.load(SILENT)
    executor = options._executor(SILENT)
    first = runs[0]
    training = dataclasses.replace(first.setup.training, epochs=1)
    short = dataclasses.replace(first, setup=dataclasses.replace(first.setup, training=training))
    trained = execute(short, folder, executor.fabric(first))
    tensors, state = checkpoint.load(folder / PREDICTIONS)
    rng = np.random.default_rng(0)
    for run in runs:
        write_run(run, executor.folder(run), trained, tensors, state, rng)
    return len(runs)


def write_run(
    run: Run,
    folder: Path,
    trained: Record,
    tensors: dict[str, torch.Tensor],
    state: dict[str, Any],
    rng: np.random.Generator,
) -> None:
    """Write a record and predictions like those of a trained run, for another recipe, seed and domain."""
    (part,), old, fold = run.held_out, trained.unseen, run.fold()
    (epoch,), test = trained.epochs, fold.tests[part]

    def other(figures: Mapping[str, float], change: float) -> dict[str, float]:
        return {name: min(max(value + change, 0.0), 1.0) for name, value in figures.items()}

    epochs = tuple(
        Epoch(epoch.train_loss, other(epoch.validation, change), {part: other(epoch.test[old], change)})
        for change in rng.normal(0, 0.02, run.training.epochs).tolist()
    )
    record = dataclasses.replace(
        trained,
        run=run.hash,
        recipe=run.recipe.name,
        seed=run.seed,
        held_out=run.held_out,
        config=run.config,
        images={"train": len(fold.train), "validation": len(fold.val), f"test/{part}": len(test)},
        epochs=epochs,
    )
    made = {name: value for name, value in tensors.items() if not name.endswith(f"/test/{old}")}
    for name in ("best", "last"):
        logits = rng.normal(size=(len(test), len(run.setup.data.class_names)))
        made[f"{name}/test/{part}"] = torch.from_numpy(logits.astype(np.float32))
    made[f"indices/test/{part}"] = torch.from_numpy(test)
    checkpoint.save(folder / PREDICTIONS, made, state)
    write_record(folder / RECORD, record)
    (folder / DONE).touch()


def command(*words: str) -> dict[str, float]:
    """CPU seconds, wall seconds and peak memory of an `afield` command."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURED, *words],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    cpu_s, kilobytes = done.stdout.splitlines()[-1].split()
    return {"wall_s": time.monotonic() - began, "cpu_s": float(cpu_s), "peak_MB": int(kilobytes) * 1024 / 1e6}


def commands(options: Compare) -> dict[str, dict[str, float]]:
    """The cost of each command on a comparison whose runs are done."""
    dry = dataclasses.replace(options, dry_run=True)
    return {
        "dry run": command("compare", *as_words(dataclasses.replace(dry, out=Path(f"{options.out}, not begun")))),
        "dry run, all done": command("compare", *as_words(dry)),
        "comparison, all done": command("compare", *as_words(options)),
        "report": command("report", str(options.out)),
    }


def main() -> None:
    """Measure, fit, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few runs")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    size: dict[str, Any] = QUICK if args.quick else SIZES
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AFIELD_CACHE"] = f"{folder}/cache"
        data = Path(folder) / "images"
        write_images(data, size["domains"], size["classes"], size["images"])
        options = Compare(
            data=str(data),
            recipes=tuple(RECIPES[: size["recipes"]]),
            seeds=size["seeds"][-1],
            epochs=size["epochs"],
            image_size=SIZE,
            backbone="resnet8",
            device="cpu",
            threads=1,
            out=Path(folder) / "comparison",
        )
        runs = write_runs(options, Path(folder) / "one")
        found = [commands(dataclasses.replace(options, seeds=seeds)) for seeds in size["seeds"]]
    counts = [runs * seeds // size["seeds"][-1] for seeds in size["seeds"]]
    fits: dict[str, Any] = {}
    print(f"{'command':24}{'runs':>7}{'wall, s':>9}{'CPU, s':>9}{'MB':>7}{'ms a run':>10}{'worst':>8}")
    for name in found[0]:
        rows = [each[name] for each in found]
        fits[name] = line(counts, [row["cpu_s"] for row in rows]) | {key: [r[key] for r in rows] for key in rows[0]}
        print(
            f"{name:24}{runs:>7,}{rows[-1]['wall_s']:>9.1f}{rows[-1]['cpu_s']:>9.1f}{rows[-1]['peak_MB']:>7.0f}"
            f"{1e3 * fits[name]['each_s']:>10.2f}{fits[name]['worst']:>8.0%}"
        )
    result = {"benchmark": "many_runs", **size, "commands": fits}
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
