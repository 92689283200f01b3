"""Training-ready batches from a folder of images: images per second and memory, compared with torchvision.

    python benchmarks/data.py --data FOLDER [--quick] [--out FILE]

FOLDER contains domain/class/image, such as PACS. Both contestants make shuffled float32 batches after random resized
crop, flip and normalization; separate rows add color jitter. The peer is `ImageFolder` with v2 transforms on Pillow
images (here faster than on tensors) and `DataLoader(num_workers=2, persistent_workers=True)`, which decodes every image
in every epoch. Ours crops from images that were decoded and resized to the training size once; the time for this is
reported separately. It uses two threads and no worker processes, and its batches are channels-last.

Each contestant is a process tree that waits while the other works, and keeps freed memory as afield's commands do. They
take turns; the results are medians over rounds. `cpu` is the ratio of CPU seconds per image, on which other work on the
machine has less influence. Memory is the largest sum of proportional set sizes of a process tree. Ours includes the
pages of the memory-mapped cache, which the kernel can reclaim; `anonymous` excludes them. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from afield.augment import Chain, ColorJitter, RandomResizedCrop
from afield.data import load
from afield.launch.allocator import keep_freed_memory
from afield.pixels import as_floats
from afield.records import write_json
from afield.runs.provenance import provenance
from afield.training import Subset, prepared

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SCALE, JITTER = (0.8, 1.0), (0.4, 0.4, 0.4, 0.4)
CORES = 2
BATCH = {64: 128, 224: 32}


class Ready(Chain):
    """The augmentations, and the conversion to network inputs."""

    def apply(self, images: Tensor, params: tuple[Any, ...]) -> Tensor:
        return v2.functional.normalize(as_floats(super().apply(images, params)), MEAN, STD)


def our_batches(folder: str, size: int, batch: int, jitter: bool) -> Iterator[Tensor]:
    """Endless batches of ours, from the cache."""
    data = load(folder, image_size=size)
    source = Subset(data.images, data.labels, np.arange(len(data)))
    augmentation = Ready([RandomResizedCrop(scale=SCALE), *([ColorJitter(*JITTER)] if jitter else [])])
    rng, generator, fabric = np.random.default_rng(0), torch.Generator().manual_seed(0), Fabric(accelerator="cpu")
    while True:
        positions = list(source.order(batch, rng)[: len(data) // batch * batch].reshape(-1, batch))
        for ready in prepared(source, positions, augmentation, generator, num_classes=1, fabric=fabric, threads=CORES):
            yield ready.inputs


def their_batches(folder: str, size: int, batch: int, jitter: bool) -> Iterator[Tensor]:
    """Endless batches of torchvision, from the files."""
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=SCALE),
            v2.RandomHorizontalFlip(),
            *([v2.ColorJitter(*JITTER)] if jitter else []),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    loader = DataLoader(
        ImageFolder(folder, transform), batch, shuffle=True, num_workers=CORES, persistent_workers=True, drop_last=True
    )
    while True:
        for images, _ in loader:
            yield images


CONTESTANTS = {"afield": our_batches, "torchvision": their_batches}


def serve(name: str, folder: str, size: int, jitter: bool) -> None:
    """Run as a contestant: read a number of batches from stdin, make them, and print the seconds that this took."""
    keep_freed_memory()
    torch.set_num_threads(1)
    batches = CONTESTANTS[name](folder, size, BATCH[size], jitter)
    assert next(batches).shape == (BATCH[size], 3, size, size)
    for line in sys.stdin:
        for _ in range(2 * CORES + 1):  # those that were made while the other was at work
            next(batches)
        began = time.monotonic()
        for _ in range(int(line)):
            next(batches)
        print(time.monotonic() - began, flush=True)


class Contestant:
    """A process tree that makes batches on request."""

    def __init__(self, name: str, folder: str, size: int, jitter: bool) -> None:
        served = [name, str(size), "jitter" if jitter else ""]
        command = [sys.executable, "-W", "ignore", __file__, "--data", folder, "--serve", *served]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.images = BATCH[size]
        self.rates: list[float] = []
        self.cpu: list[float] = []
        self.memory = self.anonymous = 0.0

    def round(self, batches: int) -> None:
        """Make this number of batches; record images per second, CPU seconds per image, and memory."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before = self._cpu_seconds()
        self.process.stdin.write(f"{batches}\n")
        self.process.stdin.flush()
        os.set_blocking(self.process.stdout.fileno(), False)
        while not (line := self.process.stdout.readline()):
            assert self.process.poll() is None, "a contestant stopped"
            self._look_at_memory()
            time.sleep(0.2)
        self.rates.append(batches * self.images / float(line))
        self.cpu.append((self._cpu_seconds() - before) / ((batches + 2 * CORES + 1) * self.images))

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _tree(self) -> list[int]:
        found = [self.process.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, task.read_text().split())
        return found

    def _cpu_seconds(self) -> float:
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._tree()]
        return sum(int(row[11]) + int(row[12]) for row in fields) / os.sysconf("SC_CLK_TCK")

    def _look_at_memory(self) -> None:
        rows = [line.split() for pid in self._tree() for line in _lines(f"/proc/{pid}/smaps_rollup")]
        kilobytes = {name: sum(int(row[1]) for row in rows if row[0] == name) for name in ("Pss:", "Pss_Anon:")}
        self.memory = max(self.memory, kilobytes["Pss:"] * 1024 / 1e6)
        self.anonymous = max(self.anonymous, kilobytes["Pss_Anon:"] * 1024 / 1e6)


def _lines(path: str) -> list[str]:
    """The lines of a file in ``/proc``; an empty list if the process has just ended."""
    with suppress(OSError):
        return Path(path).read_text().splitlines()
    return []


def measure(folder: str, size: int, jitter: bool, rounds: int, batches: int) -> dict[str, Any]:
    """Both contestants at one size, after the decoding into the cache, which only ours needs."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["AFIELD_CACHE"] = cache
        began = time.monotonic()
        count = len(load(folder, image_size=size))
        decode = time.monotonic() - began
        contestants = {name: Contestant(name, folder, size, jitter) for name in CONTESTANTS}
        try:
            for _ in range(rounds):
                for contestant in contestants.values():
                    contestant.round(batches)
        finally:
            for contestant in contestants.values():
                contestant.stop()
    rate = {name: statistics.median(c.rates) for name, c in contestants.items()}
    cpu = {name: statistics.median(c.cpu) for name, c in contestants.items()}
    saved = count / rate["torchvision"] - count / rate["afield"]
    return {
        "batch": BATCH[size],
        "images_per_second": rate,
        "ratio": rate["afield"] / rate["torchvision"],
        "cpu_ms_per_image": {name: 1000 * seconds for name, seconds in cpu.items()},
        "cpu_ratio": cpu["torchvision"] / cpu["afield"],
        "memory_MB": {name: c.memory for name, c in contestants.items()},
        "anonymous_MB": {name: c.anonymous for name, c in contestants.items()},
        "decode_once_s": decode,
        "epochs_until_paid": decode / saved if saved > 0 else None,
        "rounds_images_per_second": {name: c.rates for name, c in contestants.items()},
    }


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with domain/class/image")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve[0], args.data, int(args.serve[1]), args.serve[2] == "jitter")
        return
    rounds, images = (3, 1024) if args.quick else (9, 4096)
    result: dict[str, Any] = {"benchmark": "data", "cores": CORES}
    print(f"{'':25}{'afield':>12}{'torchvision':>14}{'ratio':>8}{'cpu':>8}{'memory, MB':>20}{'decode once':>14}")
    for (size, batch), jitter in product(BATCH.items(), (False, True)):
        name = f"{size} px, color jitter" if jitter else f"{size} px"
        row = result[name] = measure(args.data, size, jitter, rounds, images // batch)
        ours, theirs = row["images_per_second"].values()
        memory = " / ".join(f"{value:,.0f}" for value in row["memory_MB"].values())
        print(
            f"{name:25}{ours:>10,.0f}/s{theirs:>12,.0f}/s{row['ratio']:>8.2f}{row['cpu_ratio']:>8.2f}"
            f"{memory:>20}{row['decode_once_s']:>12.1f} s"
        )
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
