"""Classes of unequal size: which recipe helps? CIFAR-100 with imbalance 100, on a balanced test set.

Class k of K has ``n_0 * 100^(-k / (K - 1))`` training images (the exponential profile of Cao et al., NeurIPS 2019), so
the largest class has a hundred times as many as the smallest. The test images are balanced. A ResNet-8 is trained from
scratch at 16 px on 20 of the classes, so that all runs take about ten minutes of an idle CPU core. Every recipe has its
default settings and is tested after its last epoch: nothing is selected.

    python benchmarks/imbalance.py --data FOLDER --out results/imbalance [--quick]

FOLDER contains ``cifar100.npz``. Finished runs are kept. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from afield.comparison.summary import select, summarize
from afield.data import ImageSet, Validation, parts_of
from afield.evaluation import METRICS, recall
from afield.models import BackboneConfig
from afield.printing import interval
from afield.recipes import resolve
from afield.records import Record, seed_for, write_records, write_summary
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import PREDICTIONS, execute
from afield.runs.run import Run
from afield.training import checkpoint

CLASSES, LARGEST, IMBALANCE, SEEDS, EPOCHS = 20, 500, 100, 3, 30
METRIC = "balanced_accuracy"
RECIPES = ("erm", "class_weights", "logit_adjustment", "logit_adjustment_afterwards", "balanced_softmax", "ldam_drw")


def profile(classes: int) -> list[int]:
    """The number of training images of each class, from the largest class to the smallest."""
    return [round(LARGEST * IMBALANCE ** (-k / (classes - 1))) for k in range(classes)]


def unequal(file: Path, classes: int) -> ImageSet:
    """Some classes of CIFAR-100 in random order with the sizes of `profile`, and all their test images."""
    source, rng = np.load(file), np.random.default_rng(seed_for("imbalance"))
    chosen = rng.permutation(len(source["class_names"]))[:classes]
    images, labels = {}, {}
    for split, sizes in (("train", profile(classes)), ("test", [None] * classes)):
        pixels, truth = source[f"{split}_images"], source[f"{split}_labels"]
        rows = [rng.permutation(np.flatnonzero(truth == name))[:size] for name, size in zip(chosen, sizes, strict=True)]
        images[split] = halved(pixels[np.concatenate(rows)])
        labels[split] = np.repeat(np.arange(classes), [len(each) for each in rows])
    names = [str(name) for name in source["class_names"][chosen]]
    return ImageSet.from_splits("cifar100-imbalance-100", np.concatenate(list(images.values())), labels, names)


def halved(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images ``[N, 32, 32, 3]`` at half of their size, by averages of 2 x 2 pixels."""
    blocks = images.reshape(-1, 16, 2, 16, 2, 3)
    return blocks.mean(axis=(2, 4)).round().astype(np.uint8)


def thirds(folder: Path, images: ImageSet) -> dict[str, float]:
    """The mean recall of the largest, the middle and the smallest third of the classes after the last epoch."""
    tensors, _ = checkpoint.load(folder / PREDICTIONS)
    found = recall(tensors["last/test/test"].numpy(), images.labels[tensors["indices/test/test"].numpy()])
    parts = zip(("largest", "middle", "smallest"), np.array_split(found, 3), strict=True)
    return {name: round(float(part.mean()), 6) for name, part in parts}


def main() -> None:
    """Run, write records and summary, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/imbalance"), help="folder for runs")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--quick", action="store_true", help="five classes, one epoch, one seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = unequal(args.data / "cifar100.npz", 5 if args.quick else CLASSES)
    training = choose_training("scratch", epochs=1 if args.quick else EPOCHS, augment="crop_flip")
    setup = ExperimentConfig(images, BackboneConfig("resnet8"), False, Validation(fraction=0.02), training)
    fabric, records = Fabric(accelerator="cpu"), list[Record]()
    for seed in range(1 if args.quick else args.seeds):
        for recipe in resolve(RECIPES):
            run = Run(setup, recipe, parts_of(images), seed)
            record = execute(run, args.work / run.hash, fabric)
            records.append(dataclasses.replace(record, details=thirds(args.work / run.hash, images)))
            found = record.epochs[-1].test["test"]
            print(f"seed {seed} {recipe.name}: {100 * found[METRIC]:.1f} %, {record.duration_s:.0f} s", flush=True)
    selected = select(records, "last", METRIC)
    summary = summarize(selected, images.name, "last", METRIC)
    args.out.mkdir(parents=True, exist_ok=True)
    write_records(args.out / "records.jsonl", selected)
    write_summary(args.out / "summary.json", summary)
    shown = ("balanced_accuracy", "macro_f1", "worst_class", "ece")
    print(f"{'recipe':30}" + "".join(f"{METRICS[name].title + ', %':>28}" for name in shown))
    for name, row in summary.recipes.items():
        print(f"{name:30}" + "".join(f"{interval(row.metrics[each]):>28}" for each in shown))
    gains = {name: round(100 * row.vs_erm.mean, 2) for name, row in summary.recipes.items() if row.vs_erm}
    print(json.dumps({"benchmark": "imbalance", "classes": len(images.class_names), "points_over_erm": gains}))


if __name__ == "__main__":
    main()
