"""Time and memory to choose 100 of 100,000 images from features [100000, 1280], for each labeling strategy.

    python benchmarks/labeling_speed.py [--strategies clue badge ...] [--threads 2] [--quick] [--out FILE]

Features form 500 clusters of unequal size; 50 images are labeled. What a strategy needs beside features and logits is
part of its time and memory: logits under dropout for `bald`; sequences of 100 images, predicted losses and labels are
given. Each strategy runs in a new process. Peak memory is that of the process beside the features and logits. Seconds
are wall time; CPU seconds, divided by the threads, are what the wall time would be on an idle machine with perfect
scaling. Ratios are to one product of the features with 100 vectors, so that machines can be compared. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from afield.heads import LinearHead
from afield.labeling import STRATEGIES, Pool, select
from afield.labeling.bald import dropout_draws
from afield.objective import Objective
from afield.records import write_json
from afield.runs.provenance import provenance

IMAGES, FEATURES, CLASSES, COUNT, LABELED, CLUSTERS, BLOCK = 100_000, 1280, 10, 100, 50, 500, 5000
QUICK_IMAGES, QUICK_FEATURES = 3000, 64


def make_features(images: int, width: int) -> torch.Tensor:
    """Clusters of unequal size, in blocks, so that the peak memory is that of the features."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(CLUSTERS, width, generator=generator)
    weights = torch.rand(CLUSTERS, generator=generator).square()
    features = torch.empty(images, width)
    for rows in features.split(BLOCK):
        cluster = torch.multinomial(weights, len(rows), replacement=True, generator=generator)
        rows.normal_(generator=generator).add_(centers[cluster]).relu_()
    return features


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall seconds and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_bytes() -> int:
    """The largest memory of this process so far."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(strategy: str, images: int, width: int, threads: int) -> dict[str, Any]:
    """Choose once, in a process that has done nothing else."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    features = make_features(images, width)
    objective = Objective(LinearHead(width, CLASSES), {"cross_entropy": 1.0}).requires_grad_(False)
    logits = 10 * torch.cat([objective.logits(rows) for rows in features.split(BLOCK)])
    labeled = torch.zeros(images, dtype=torch.bool)
    labeled[torch.randperm(images)[:LABELED]] = True
    product = min(timed(lambda: features @ features[:COUNT].T) for _ in range(3))
    before = peak_bytes()

    def choose() -> None:
        pool = Pool(
            features,
            logits,
            labeled,
            labels=logits.argmax(dim=1),
            sequences=torch.arange(images) // 100,
            draws=dropout_draws(objective, features) if strategy == "bald" else None,
            predicted_losses=logits[:, 0],
        )
        assert len(select(pool, COUNT, strategy).unique()) == COUNT

    seconds, cpu_s = timed(choose)
    ratio = cpu_s / product[1]
    return {"seconds": seconds, "cpu_s": cpu_s, "products": ratio, "peak_bytes": peak_bytes() - before}


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES.names, choices=STRATEGIES.names)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="3,000 images with 64 features")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    images, width = (QUICK_IMAGES, QUICK_FEATURES) if args.quick else (IMAGES, FEATURES)
    print(f"{'strategy':18}{'seconds':>9}{'CPU s':>9}{'products':>10}{'peak MiB':>10}")
    found = {}
    for name in args.strategies:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            row = found[name] = process.submit(measure, name, images, width, args.threads).result()
        numbers = f"{row['seconds']:9.1f}{row['cpu_s']:9.1f}{row['products']:10.0f}{row['peak_bytes'] / 2**20:10.0f}"
        print(f"{name:18}{numbers}", flush=True)
    result = {
        "benchmark": "labeling_speed",
        "images": images,
        "features": width,
        "count": COUNT,
        "threads": args.threads,
        "strategies": found,
    }
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
