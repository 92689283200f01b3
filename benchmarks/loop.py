"""Time of a training step in our loop, relative to a bare PyTorch loop over ready tensors.

    python benchmarks/loop.py [--quick] [--out FILE]

Both use the same network, optimizer and batches. Ours reads uint8 images from memory, as `afield` does, converts each
batch to floats, sets the learning rate, sums the loss and checks whether a checkpoint is due. The bare loop has ready
float batches. They take turns, one epoch each; the ratio is that of medians. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor

from afield.algorithms import ERM
from afield.augment import AUGMENTATIONS
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.models import BackboneConfig, build_backbone
from afield.objective import Objective
from afield.records import write_json
from afield.runs.provenance import provenance
from afield.training import Splits, Subset, TrainConfig, fit

CASES = {"ResNet-8, 32 px": ("resnet8", 32, 64), "EfficientNet-Lite0, 64 px": ("tf_efficientnet_lite0", 64, 32)}


def make_classifier(backbone: str) -> Classifier:
    """A network with a linear head and cross-entropy."""
    torch.manual_seed(0)
    network, features = build_backbone(BackboneConfig(backbone))
    objective = Objective(LinearHead(features, 10), {"cross_entropy": 1.0})
    return Classifier(network, objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=0.0)


def our_epoch(
    backbone: str, images: np.ndarray | Tensor, labels: np.ndarray, batch: int, fabric: Fabric, augmentation: str
) -> Callable[[], float]:
    """Images per second of an epoch of `fit`, without evaluation."""
    every, few = np.arange(len(images)), np.arange(batch)
    parts = Splits(Subset(images, labels, every), Subset(images, labels, few), {"test": Subset(images, labels, few)})
    training = TrainConfig(epochs=1, batch_size=batch, learning_rate=0.01)
    classifier = make_classifier(backbone)

    def run() -> float:
        reports = []
        with tempfile.TemporaryDirectory() as folder:
            fit(
                ERM(classifier, [len(images)]),
                parts,
                training,
                AUGMENTATIONS[augmentation](),
                seed=0,
                label="benchmark",
                checkpoint_file=Path(folder) / "checkpoint.safetensors",
                fabric=fabric,
                on_epoch=reports.append,
            )
        return reports[0].images_per_second

    return run


def bare_epoch(backbone: str, images: np.ndarray, labels: np.ndarray, batch: int) -> Callable[[], float]:
    """Images per second of a loop that only trains."""
    classifier = make_classifier(backbone).to(memory_format=torch.channels_last).train()
    network, head = classifier.backbone, classifier.objective.head
    optimizer = torch.optim.SGD(classifier.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    inputs = ((pixels - 0.5) / 0.25).contiguous(memory_format=torch.channels_last).split(batch)
    targets = torch.from_numpy(labels).split(batch)

    def run() -> float:
        began = time.monotonic()
        for x, y in zip(inputs, targets, strict=True):
            F.cross_entropy(head(network(x)), y).backward()
            optimizer.step()
            optimizer.zero_grad()
        return len(images) / (time.monotonic() - began)

    return run


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    steps, rounds = (8, 5) if args.quick else (16, 21)
    ratios = {}
    print(f"{'network':28}{'bare, ms per step':>17}{'ours / bare':>13}")
    for name, (backbone, side, batch) in CASES.items():
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (steps * batch, side, side, 3), dtype=np.uint8)
        labels = generator.integers(0, 10, steps * batch)
        ours = our_epoch(backbone, images, labels, batch, Fabric(accelerator="cpu"), "none")
        bare = bare_epoch(backbone, images, labels, batch)
        pairs = [(ours(), bare()) for _ in range(rounds + 1)][1:]
        seconds = [batch / statistics.median(rates) for rates in zip(*pairs, strict=True)]
        ratios[name] = seconds[0] / seconds[1]
        print(f"{name:28}{1000 * seconds[1]:>17.1f}{ratios[name]:>13.3f}")
    result = {"benchmark": "loop", "time_over_bare": ratios}
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
