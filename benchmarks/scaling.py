"""Cost of an image, a class, a run and a process: each measured at several sizes, with a fitted line.

    python benchmarks/scaling.py [--quick] [--out FILE]

- **image**: CPU seconds of a whole run of two epochs, by the number of training images: ResNet-8 at 32 px, including
  the evaluation of a tenth of the images. The fixed part is the cost of a run.
- **class**: CPU seconds of forward and backward of a head, B = 128, D = 512, by the number of classes; also for Partial
  FC, which trains on a tenth of the classes.
- **run**: the bytes that a run writes.
- **process**: wall seconds until a process is ready for its first run.

Lines are fitted by least squares; ``worst`` is the largest relative error of a line at a measured size, and
``growth`` the exponent between the two largest sizes. One thread. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from afield.data import Validation
from afield.data.images import ImageSet
from afield.heads import LinearHead, PartialFCHead
from afield.models import BackboneConfig
from afield.objective import Objective
from afield.recipes import RECIPES
from afield.records import write_json
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import execute
from afield.runs.provenance import provenance
from afield.runs.run import Run

SIZES = {"images": (1500, 3000, 6000, 12_000), "classes": (1000, 4000, 16_000, 64_000), "rounds": 5}
QUICK = {"images": (64, 128, 256), "classes": (100, 200, 400), "rounds": 1}
BATCH, FEATURES, EPOCHS = 128, 512, 2


def line(sizes: Sequence[int], seconds: Sequence[float]) -> dict[str, Any]:
    """Fit ``fixed + each * size`` to the relative errors."""
    x, y = np.asarray(sizes, float), np.asarray(seconds)
    each, fixed = np.polyfit(x, y, 1, w=1 / y)
    worst = float(np.abs((fixed + each * x) / y - 1).max())
    found = {"sizes": list(sizes), "seconds": list(seconds), "fixed_s": fixed, "each_s": each, "worst": worst}
    return found | {"growth": growth(sizes, seconds)}


def growth(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The exponent of a power law through the values at the two largest sizes: 1 if they are proportional."""
    return float(np.log(values[-1] / values[-2]) / np.log(sizes[-1] / sizes[-2]))


def least(work: Callable[[], object], rounds: int) -> float:
    """The smallest CPU time of several rounds after a warm-up: other work on the machine can only add time."""
    work()
    found = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def noise(images: NDArray[np.uint8]) -> ImageSet:
    """Images ``[N, H, W, 3]`` of one domain with ten classes in turn."""
    count = len(images)
    return ImageSet(
        name="noise",
        images=images,
        labels=np.arange(count) % 10,
        domains=np.zeros(count, np.int64),
        digests=np.arange(count, dtype=np.uint64),
        class_names=tuple("abcdefghij"),
        domain_names=("all",),
        paths=tuple(map(str, range(count))),
        given=np.full(count, -1, np.int8),
    )


def run_of(images: int) -> Run:
    """ResNet-8 on noise at 32 px, ten classes."""
    data = noise(np.random.default_rng(0).integers(256, size=(images, 32, 32, 3), dtype=np.uint8))
    training = choose_training("scratch", epochs=EPOCHS, batch_size=64, augment="crop_flip")
    return Run(ExperimentConfig(data, BackboneConfig("resnet8"), False, Validation(), training), RECIPES["erm"], (), 0)


def whole_run(run: Run) -> tuple[float, int]:
    """CPU seconds, and the bytes in the run folder at the end."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        execute(run, Path(folder), Fabric(accelerator="cpu", devices=1))
        seconds = time.process_time() - began
        return seconds, sum(file.stat().st_size for file in Path(folder).iterdir())


def head_step(head: nn.Module, classes: int) -> Callable[[], None]:
    """Forward and backward of a head and cross-entropy."""
    features = torch.randn(BATCH, FEATURES, requires_grad=True)
    targets = torch.randint(classes, (BATCH,))
    objective = Objective(head, {"cross_entropy": 1.0})

    def step() -> None:
        objective.zero_grad()
        objective(features, targets).backward()

    return step


def start_seconds() -> float:
    """Wall seconds until a new process has imported everything that a run needs."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-W", "ignore", "-c", "import afield.runs.execute"], check=True)
    return time.monotonic() - began


def main() -> None:
    """Measure, fit, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes, one round")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    size = QUICK if args.quick else SIZES
    whole_run(run_of(size["images"][0]))
    runs = [whole_run(run_of(images)) for images in size["images"]]
    costs = {"image": line([EPOCHS * images for images in size["images"]], [seconds for seconds, _ in runs])}
    for name, make in (("class", LinearHead), ("class, a tenth seen", PartialFCHead)):
        steps = [head_step(make(FEATURES, classes), classes) for classes in size["classes"]]
        costs[name] = line(size["classes"], [least(step, size["rounds"]) for step in steps])
    print(f"{'cost of':24}{'fixed, ms':>12}{'each, us':>12}{'worst':>8}")
    for name, fitted in costs.items():
        print(f"{name:24}{1e3 * fitted['fixed_s']:>12.1f}{1e6 * fitted['each_s']:>12.2f}{fitted['worst']:>8.0%}")
    result = {
        "benchmark": "scaling",
        **costs,
        "run_bytes": runs[-1][1],
        "bytes_an_image": (runs[-1][1] - runs[0][1]) / (size["images"][-1] - size["images"][0]),
        "process_start_s": min(start_seconds() for _ in range(size["rounds"])),
    }
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
