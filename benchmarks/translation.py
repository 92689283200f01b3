"""Do translations of images of a common class help rare classes? CIFAR-10 with six classes, ResNet-8.

Four classes have 2,000 training images and two have 50; all have 500 test images, at 16 px. Horses, the reference, are
translated to deer and dogs; the classes were chosen before any run. The arms are `erm`, two recipes for unequal
classes, and `erm` with a learned augmentation. All arms have the same number of epochs; with a learned augmentation,
the second half uses it. They are tested after the last epoch: nothing is selected.

    python benchmarks/translation.py --data FOLDER --out results/translation [--quick]

FOLDER contains ``cifar10.npz``. Finished runs are kept, and an interrupted run continues. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from imbalance import halved
from lightning_fabric import Fabric

from afield.comparison.summary import select
from afield.data import ImageSet, Validation, parts_of
from afield.evaluation import estimate, paired_difference, recall
from afield.models import BackboneConfig
from afield.recipes import Recipe, resolve
from afield.records import BASELINE, Record, seed_for, write_json, write_records
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import PREDICTIONS, execute
from afield.runs.run import Run
from afield.training import checkpoint

REFERENCE, COMMON, RARE = "horse", ("horse", "airplane", "automobile", "ship"), ("deer", "dog")
METRIC = "balanced_accuracy"


@dataclasses.dataclass(frozen=True)
class Size:
    """Numbers of images of a class, epochs of a run and of learning an augmentation, and seeds."""

    common: int = 2000
    rare: int = 50
    tested: int = 500
    epochs: int = 20
    dagan_epochs: int = 8
    translation_epochs: int = 8
    epoch_steps: int = 100
    seeds: int = 3


QUICK = Size(40, 10, 4, 2, 1, 1, 1, 1)


def unequal(file: Path, size: Size) -> ImageSet:
    """The classes with their numbers of images, drawn at random."""
    source, rng, names = np.load(file), np.random.default_rng(seed_for("translation")), [*COMMON, *RARE]
    indices = [list(source["class_names"]).index(name) for name in names]
    images, labels = [], {}
    for split in ("train", "test"):
        truth = source[f"{split}_labels"]
        sizes = [(size.common if name in COMMON else size.rare) if split == "train" else size.tested for name in names]
        rows = [
            rng.permutation(np.flatnonzero(truth == index))[:count] for index, count in zip(indices, sizes, strict=True)
        ]
        images.append(halved(source[f"{split}_images"][np.concatenate(rows)]))
        labels[split] = np.repeat(np.arange(len(names)), [len(each) for each in rows])
    return ImageSet.from_splits("cifar10-rare", np.concatenate(images), labels, names)


def arms(size: Size) -> list[Recipe]:
    """The recipes, the baseline first."""
    translation = {
        "reference": REFERENCE,
        "targets": ",".join(RARE),
        "epochs": size.translation_epochs,
        "epoch_steps": size.epoch_steps,
        "learning_rate": 1e-3,
    }
    return [
        *resolve([BASELINE, "class_weights", "class_balanced_sampling"]),
        Recipe("dagan", augment="dagan+crop_flip", augment_options={"epochs": size.dagan_epochs}),
        Recipe("translation", augment="cyclegan+crop_flip", augment_options=translation),
    ]


def recalls(folder: Path, images: ImageSet) -> dict[str, float]:
    """The recall of the reference, and the mean recall of the common and of the rare classes, after the last epoch."""
    tensors, _ = checkpoint.load(folder / PREDICTIONS)
    found = recall(tensors["last/test/test"].numpy(), images.labels[tensors["indices/test/test"].numpy()])
    by_class = dict(zip(images.class_names, found.tolist(), strict=True))
    groups = {"reference": (REFERENCE,), "common": COMMON, "rare": RARE}
    return {name: round(float(np.mean([by_class[each] for each in group])), 6) for name, group in groups.items()}


def measures(records: list[Record]) -> dict[str, dict[str, Any]]:
    """Balanced accuracy and recalls of each arm over seeds, and the paired differences to the baseline."""

    def values(arm: str, name: str) -> list[float]:
        own = sorted((record for record in records if record.recipe == arm), key=lambda record: record.seed)
        return [record.epochs[-1].test["test"][METRIC] if name == METRIC else record.details[name] for record in own]

    found = dict[str, dict[str, Any]]()
    for arm in dict.fromkeys(record.recipe for record in records):
        found[arm] = {}
        for name in (METRIC, "rare", "common", "reference"):
            own = values(arm, name)
            found[arm][name] = estimate(own, within=(0, 1)).as_dict()
            found[arm][f"{name} over {BASELINE}"] = paired_difference(own, values(BASELINE, name)).as_dict()
    return found


def main() -> None:
    """Run, write records and measures, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with cifar10.npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/translation"), help="folder for runs")
    parser.add_argument("--seeds", type=int, default=Size.seeds)
    parser.add_argument("--quick", action="store_true", help="few images, two epochs, one seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    size = QUICK if args.quick else dataclasses.replace(Size(), seeds=args.seeds)
    images = unequal(args.data / "cifar10.npz", size)
    training = choose_training("scratch", epochs=size.epochs, augment="crop_flip")
    setup = ExperimentConfig(images, BackboneConfig("resnet8"), False, Validation(fraction=0.02), training)
    fabric, records = Fabric(accelerator="cpu"), list[Record]()
    for seed in range(size.seeds):
        for recipe in arms(size):
            run = Run(setup, recipe, parts_of(images), seed)
            record = execute(run, args.work / run.hash, fabric)
            records.append(dataclasses.replace(record, details=recalls(args.work / run.hash, images)))
            balanced, rare = record.epochs[-1].test["test"][METRIC], records[-1].details["rare"]
            text = f"balanced accuracy {100 * balanced:.1f} %, rare {100 * rare:.1f} %, {record.duration_s:.0f} s"
            print(f"seed {seed} {recipe.name}: {text}", flush=True)
    found = measures(records)
    args.out.mkdir(parents=True, exist_ok=True)
    selected = select(records, "last", METRIC)
    write_records(args.out / "records.jsonl", selected)
    write_json(args.out / "summary.json", {"data": images.name, "arms": found})
    shown = (METRIC, f"{METRIC} over {BASELINE}", "rare", f"rare over {BASELINE}", "reference")
    for arm, row in found.items():
        print(f"{arm:24}" + "".join(f"{name} {100 * row[name]['mean']:+6.1f}   " for name in shown))
    means = {arm: {name: round(100 * row[name]["mean"], 2) for name in shown} for arm, row in found.items()}
    print(json.dumps({"benchmark": "translation", "seeds": size.seeds, "percent": means}))


if __name__ == "__main__":
    main()
