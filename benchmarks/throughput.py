"""Training speed of our loop on one device, as a share of the speed of the network alone.

    python benchmarks/throughput.py [--device cuda] [--quick] [--out FILE]

*Network alone* is forward, backward and optimizer step on float images that are ready on the device, in bf16 and
channels-last memory: with PyTorch as it is, with `torch.compile`, and replayed as a CUDA graph, which removes the cost
of starting kernels. *Loop* is `afield.training.fit` with the same network, optimizer and batches: it reads uint8
images, which are on the GPU, crops and mirrors them, sets the learning rate, sums the loss and checks whether a
checkpoint is due. Evaluation is not counted. All take turns, `ROUNDS` times, after a round that is not counted; values
are medians. `torch.compile` and CUDA graphs are measured on a GPU only. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from loop import make_classifier, our_epoch

from afield.records import write_json
from afield.runs.provenance import provenance
from afield.training import resident

ROUNDS = 5
CASES = {
    "EfficientNet-Lite0, 224 px, batch 64": ("tf_efficientnet_lite0", 224, 64, 40),
    "EfficientNet-Lite0, 224 px, batch 256": ("tf_efficientnet_lite0", 224, 256, 20),
    "ResNet-18, 32 px, batch 128": ("resnet18", 32, 128, 100),
    "Whitened VGG, 32 px, batch 1024": ("whitened_vgg", 32, 1024, 40),
}
"""Backbone, image size, batch size and steps of a round."""
QUICK = {"ResNet-8, 16 px, batch 16": ("resnet8", 16, 16, 2)}

Measured = Callable[[], float]
"""Trains for one round; returns images per second."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, images and labels on a device."""

    backbone: str
    images: torch.Tensor
    labels: np.ndarray
    batch: int
    fabric: Fabric

    @classmethod
    def noise(cls, backbone: str, side: int, batch: int, steps: int, fabric: Fabric) -> Case:
        """Images of noise in ten classes."""
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (steps * batch, side, side, 3), dtype=np.uint8)
        return cls(
            backbone, resident(pixels, fabric.device), rng.integers(0, 10, steps * batch).astype(int), batch, fabric
        )

    @property
    def device(self) -> torch.device:
        """The device."""
        return self.fabric.device

    def rate(self, began: float) -> float:
        """Images per second of a round that began at this time and whose last result has arrived."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return len(self.labels) / (time.perf_counter() - began)

    def loop(self) -> Measured:
        """Training with `fit`."""
        return our_epoch(self.backbone, self.images, self.labels, self.batch, self.fabric, "crop_flip")

    def alone(self, how: str) -> Measured:
        """Training of the network alone: ``eager``, ``compiled`` or ``graph``."""
        classifier = make_classifier(self.backbone).to(self.device, memory_format=torch.channels_last).train()
        network = torch.nn.Sequential(classifier.backbone, classifier.objective.head)
        model = torch.compile(network) if how == "compiled" else network
        optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
        pixels = self.images[: self.batch].permute(0, 3, 1, 2).float() / 255
        inputs = ((pixels - 0.5) / 0.25).contiguous(memory_format=torch.channels_last)
        targets = torch.from_numpy(self.labels[: self.batch]).to(self.device)

        def step() -> None:
            with self.fabric.autocast():
                loss = F.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=how != "graph")

        replay = captured(step) if how == "graph" else step

        def run() -> float:
            began = time.perf_counter()
            for _ in range(len(self.labels) // self.batch):
                replay()
            return self.rate(began)

        return run


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """A step as a CUDA graph, captured after three steps on another stream."""
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Images per second of each way, and the share of our loop in those of the network alone."""
    ways, failed = {"loop": case.loop(), "eager": case.alone("eager")}, dict[str, str]()
    if case.device.type == "cuda":
        for how in ("compiled", "graph"):
            try:
                ways[how] = case.alone(how)
                ways[how]()
            except Exception as error:  # of a compiler or driver, which can be any
                ways.pop(how, None)
                failed[how] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    rates = [{name: run() for name, run in ways.items()} for _ in range(rounds + 1)][1:]
    medians = {name: statistics.median(each[name] for each in rates) for name in ways}
    shares = {name: medians["loop"] / rate for name, rate in medians.items() if name != "loop"}
    return {"images_per_second": medians, "share_of": shares, "failed": failed}


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="cpu or cuda")
    parser.add_argument("--quick", action="store_true", help="one small network, one round")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    fabric = Fabric(accelerator=args.device, devices=1, precision="32-true" if args.quick else "bf16-mixed")
    found = dict[str, Any]()
    for name, (backbone, side, batch, steps) in (QUICK if args.quick else CASES).items():
        found[name] = measure(Case.noise(backbone, side, batch, steps, fabric), 1 if args.quick else ROUNDS)
        rates, shares = found[name]["images_per_second"], found[name]["share_of"]
        print(f"{name}: our loop {rates['loop']:,.0f} images/s", flush=True)
        for way, share in shares.items():
            print(f"  network alone, {way:9}{rates[way]:>12,.0f} images/s; our loop has {100 * share:.0f} % of it")
        for way, why in found[name]["failed"].items():
            print(f"  network alone, {way:9} failed: {why}")
    result = {"benchmark": "throughput", "cases": found}
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
