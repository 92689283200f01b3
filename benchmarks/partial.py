"""Images per second of training from a stage on, beside training of the whole network, in the same run.

    python benchmarks/partial.py [--stages blocks.6 blocks.5] [--image-size 224] [--threads 1] [--quick] [--out FILE]

An EfficientNet-Lite0 and a head of 7 classes, batches of 64, SGD. The whole network trains on images, the last stages
on stored activations before the stage. Steps of all are interleaved; each figure is a median. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from afield.models import BackboneConfig, build_backbone, divide
from afield.models.weights import PACKAGE_BACKBONE
from afield.records import write_json
from afield.runs.provenance import provenance

CLASSES = 7


def step_of(network: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], None]:
    """A training step of a network on a batch."""
    network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 0.001, momentum=0.9)

    def step() -> None:
        nn.functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    """Measure, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", default=["blocks.6", "blocks.5"])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small images and batches")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    if args.quick:
        args.image_size, args.batch, args.repeats = 32, 8, 2
    torch.set_num_threads(args.threads)
    size = (args.image_size, args.image_size)
    images, targets = torch.rand(args.batch, 3, *size), torch.arange(args.batch) % CLASSES
    steps = {}
    for stage in ("whole network", *args.stages):
        network, features = build_backbone(BackboneConfig(PACKAGE_BACKBONE))
        inputs = images
        if stage != "whole network":
            before, network = divide(network, stage, size)
            with torch.no_grad():
                inputs = before.eval()(images)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        steps[stage] = step_of(nn.Sequential(network, nn.Linear(features, CLASSES)), inputs, targets)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(args.repeats + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            if number:  # the first step of each is a warm-up
                seconds[name].append(time.perf_counter() - began)
    rates = {name: args.batch / statistics.median(each) for name, each in seconds.items()}
    result = {
        "benchmark": "partial",
        "image_size": args.image_size,
        "batch": args.batch,
        "threads": args.threads,
        "repeats": args.repeats,
        "images_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": {name: round(rate / rates["whole network"], 2) for name, rate in rates.items()},
    }
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
