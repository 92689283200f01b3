"""Training and feature extraction on a CPU with and without `keep_freed_memory`, in the same run.

    python benchmarks/allocator.py [--image-size 224] [--batch 32] [--repeats 5] [--quick] [--out FILE]

An EfficientNet-Lite0 trains on images, trains from ``blocks.6`` on stored activations, and extracts features; a
ResNet-8 trains on images of 32 px. Each measurement is a process of its own with one thread, because the setting lasts
until a process ends, and the two kinds of processes alternate. The figures are medians: images per second of CPU time
(of the process and the system for it), page faults per step, and the largest resident memory. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from partial import CLASSES, step_of
from torch import nn

from afield.launch.allocator import keep_freed_memory
from afield.models import BackboneConfig, build_backbone, divide
from afield.models.weights import PACKAGE_BACKBONE
from afield.records import write_json
from afield.runs.provenance import provenance

TASKS = ("whole network", "blocks.6", "features", "resnet8, 32 px")
STEPS = 3


def work(task: str, size: int, batch: int) -> Callable[[], None]:
    """A step of a task."""
    name, size = ("resnet8", 32) if task.startswith("resnet8") else (PACKAGE_BACKBONE, size)
    network, features = build_backbone(BackboneConfig(name))
    inputs, targets = torch.rand(batch, 3, size, size), torch.arange(batch) % CLASSES
    if task == "blocks.6":
        before, network = divide(network, task, (size, size))
        with torch.no_grad():
            inputs = before.eval()(inputs)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    network = nn.Sequential(network, nn.Linear(features, CLASSES)).to(memory_format=torch.channels_last)
    if task == "features":
        return torch.no_grad()(lambda: network.eval()(inputs))
    return step_of(network, inputs, targets)


def measure(task: str, size: int, batch: int) -> dict[str, float]:
    """Images per CPU second, page faults per step and peak memory of this process."""
    torch.set_num_threads(1)
    step = work(task, size, batch)
    step()
    faults, began = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.process_time()
    for _ in range(STEPS):
        step()
    seconds, usage = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF)
    return {
        "images_per_cpu_second": STEPS * batch / seconds,
        "faults_per_step": (usage.ru_minflt - faults) / STEPS,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def main() -> None:
    """Measure, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small images and batches, once")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    parser.add_argument("--measure", help=argparse.SUPPRESS)  # a process that measures one task
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.quick:
        args.image_size, args.batch, args.repeats = 32, 4, 1
    if args.keep:
        keep_freed_memory()
    if args.measure:
        print(json.dumps(measure(args.measure, args.image_size, args.batch)))
        return
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for _ in range(args.repeats):
        for task in args.tasks:
            for kind, option in (("default", ()), ("kept", ("--keep",))):
                settings = ("--image-size", str(args.image_size), "--batch", str(args.batch))
                command = [sys.executable, "-W", "ignore", __file__, *settings, "--measure", task, *option]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
                found.setdefault((task, kind), []).append(json.loads(done.stdout))
    tasks = {}
    for task in args.tasks:
        default, kept = found[task, "default"], found[task, "kept"]
        row = {
            kind: {name: round(statistics.median(one[name] for one in rows), 1) for name in rows[0]}
            for kind, rows in (("default", default), ("kept", kept))
        }
        speed = "images_per_cpu_second"
        ratios = [ours[speed] / theirs[speed] for ours, theirs in zip(kept, default, strict=True)]
        tasks[task] = row | {"speed_ratio": round(statistics.median(ratios), 2)}
    result = {
        "benchmark": "allocator",
        **{name: getattr(args, name) for name in ("image_size", "batch", "repeats")},
        "tasks": tasks,
    }
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
