"""Time of a training step of each algorithm, relative to ERM in the same run.

    python benchmarks/algorithms.py [--rounds 60] [--quick] [--out FILE]

ResNet-8 at 32 px, batches of 96 from three domains, one thread. A step consists of forward, backward, the optimizer
step, and what the algorithm does after it. Algorithms that train with unlabeled images have 96 of them in addition. The
algorithms take turns, in a different order each round; a ratio is that of medians of CPU seconds. The evaluations of
the validation loss in SWAD are not included: each costs as much as predicting the validation images. The last line is
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from afield.algorithms import ALGORITHMS, AVERAGINGS, Algorithm, Batch
from afield.classifier import Classifier
from afield.heads import LinearHead
from afield.models import BackboneConfig, build_backbone
from afield.objective import Objective
from afield.recipes import RECIPES
from afield.records import write_json
from afield.runs.build import build_algorithm
from afield.runs.provenance import provenance
from afield.training import SparseSGD

BATCH, DOMAINS, CLASSES, SIDE, STEPS = 96, 3, 7, 32, 1000


def make_algorithm(name: str, size: int) -> Algorithm:
    """The recipe of this name with a new ResNet-8, for batches of this many images."""
    torch.manual_seed(0)
    backbone, features = build_backbone(BackboneConfig("resnet8"))
    objective = Objective(LinearHead(features, CLASSES), {"cross_entropy": 1.0})
    classifier = Classifier(backbone, objective, mean=(0.5,) * 3, std=(0.25,) * 3, dropout=0.0)
    algorithm = build_algorithm(RECIPES[name], classifier, [size] * DOMAINS, seed=0)
    return algorithm.to(memory_format=torch.channels_last).train()


def make_step(name: str, size: int) -> Callable[[], None]:
    """A training step, always on the same batch of this many images."""
    algorithm = make_algorithm(name, size)
    parameters = [parameter for parameter in algorithm.parameters() if parameter.requires_grad]
    optimizer = SparseSGD(parameters, 0.01, momentum=0.9, weight_decay=5e-4)
    images, target = torch.rand(2, size, 3, SIDE, SIDE)
    images, target = (each.contiguous(memory_format=torch.channels_last) for each in (images, target))
    domains, targets = torch.arange(size) % DOMAINS, torch.arange(size) // DOMAINS % CLASSES
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        batch = Batch(images, targets, domains, torch.arange(size), 0.5, target)
        algorithm.update(algorithm, batch, torch.Tensor.backward)
        optimizer.step()
        optimizer.zero_grad()
        algorithm.end_step(done, STEPS, lambda: 1.0)

    return step


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="number of steps of each algorithm")
    parser.add_argument("--quick", action="store_true", help="2 rounds, with batches of 12 images")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    size, rounds = (12, 2) if args.quick else (BATCH, args.rounds)
    contestants = [(name, make_step(name, size)) for name in (*ALGORITHMS.names, *AVERAGINGS.names)]
    seconds: dict[str, list[float]] = {name: [] for name, _ in contestants}
    chance = random.Random(0)
    for counted in range(-1, rounds):
        chance.shuffle(contestants)
        for name, step in contestants:
            began = time.process_time()
            step()
            if counted >= 0:
                seconds[name].append(time.process_time() - began)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {name: median / medians["erm"] for name, median in medians.items()}
    print(f"{'algorithm':16}{'ms per step':>12}{'ratio to erm':>12}")
    for name, ratio in ratios.items():
        print(f"{name:16}{1000 * medians[name]:>12.1f}{ratio:>12.2f}")
    result = {
        "benchmark": "algorithms",
        "batch": size,
        "rounds": rounds,
        "erm_seconds": medians["erm"],
        "time_over_erm": ratios,
    }
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
