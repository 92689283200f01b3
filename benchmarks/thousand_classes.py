"""Do margin heads converge with a thousand classes? Each class is one CIFAR-100 image under many transformations.

A thousand training images of CIFAR-100, ten of each class, become classes of their own. Random patches of each image
(25 to 75 % of the area, mirrored, with changed colors) are its 24 training and 5 test images, at 16 px. This is the
surrogate task of Dosovitskiy et al., "Discriminative Unsupervised Feature Learning with Exemplar CNNs", 2014. A
ResNet-8 learns it from scratch with cross-entropy, with ArcFace at scale 1 (as in paper C), at the scale floor and at
``"auto"``, and with cross-entropy and margin on shared weights.

    python benchmarks/thousand_classes.py --data FOLDER --out results/thousand-classes [--quick]

FOLDER contains ``cifar100.npz``. Finished runs are kept. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from lightning_fabric import Fabric
from matplotlib.figure import Figure

from afield.augment import Standard
from afield.data import ImageSet, Validation, load, parts_of
from afield.evaluation import estimate, paired_difference
from afield.heads import scale_floor
from afield.models import BackboneConfig
from afield.recipes import Recipe
from afield.records import run_hash, seed_for, write_json, write_jsonl
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import execute
from afield.runs.run import Run

CLASSES, TRAIN, TEST, SEEDS, EPOCHS = 1000, 24, 5, 3, 8
DRAW = Standard(scale=(0.25, 0.75), flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4)
BOTH = {"linear_losses": {"cross_entropy": 1.0}}


def recipes(classes: int) -> list[Recipe]:
    """The recipes to compare."""

    def arcface(name: str, scale: float | str, **more: Any) -> Recipe:
        return Recipe(name, head="arcface", head_options={"scale": scale}, **more)

    return [
        Recipe("cross-entropy"),
        arcface("margin, scale 1", 1.0),
        arcface("margin, scale floor", round(scale_floor(classes), 6)),
        arcface("margin, scale auto", "auto"),
        arcface("cross-entropy + margin, scale 1", 1.0, **BOTH),
        arcface("cross-entropy + margin, scale auto", "auto", **BOTH),
    ]


def exemplars(file: Path, classes: int, folder: Path) -> ImageSet:
    """Random patches of the first images of each class, after a seeded shuffle, as training and test images."""
    key = run_hash({"classes": classes, "train": TRAIN, "test": TEST, "draw": dataclasses.asdict(DRAW)})
    target = folder / f"exemplars-{key}.npz"
    if not target.exists():
        source = np.load(file)
        labels = source["train_labels"]
        order = np.random.default_rng(seed_for("exemplars")).permutation(len(labels))
        names = np.unique(labels)
        chosen = np.concatenate([order[labels[order] == name][: classes // len(names)] for name in names])
        images = torch.from_numpy(source["train_images"][chosen]).permute(0, 3, 1, 2).float() / 255
        generator = torch.Generator().manual_seed(seed_for("draws"))
        arrays = {}
        for split, count in (("train", TRAIN), ("test", TEST)):
            draws = [DRAW.apply(images, DRAW.sample(images, generator)) for _ in range(count)]
            pixels = torch.nn.functional.avg_pool2d(torch.cat(draws), 2).clamp(0, 1).mul(255).round()
            arrays[f"{split}_images"] = pixels.to(torch.uint8).permute(0, 2, 3, 1).numpy()
            arrays[f"{split}_labels"] = np.tile(np.arange(classes), count)
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez(target, **arrays)
    return load(str(target))


def draw(curves: dict[str, list[float]], file: Path) -> None:
    """Mean top-1 by epoch."""
    with matplotlib.rc_context({"svg.hashsalt": "afield", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.5, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for name, curve in curves.items():
            axes.plot(range(1, len(curve) + 1), 100 * np.array(curve), marker="o", markersize=3, label=name)
        axes.set(xlabel="epoch", ylabel="top-1 on test images, %", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, frameon=False)
        figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Run, write records and curves, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/thousand-classes"), help="folder for runs and images")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--quick", action="store_true", help="a hundred classes, two epochs, one seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    classes = 100 if args.quick else CLASSES
    images = exemplars(args.data / "cifar100.npz", classes, args.work)
    training = choose_training(
        "scratch", epochs=2 if args.quick else EPOCHS, batch_size=128, warmup=0.3, augment="crop"
    )
    setup = ExperimentConfig(images, BackboneConfig("resnet8"), False, Validation(), training)
    fabric = Fabric(accelerator="cpu")
    lines: list[dict[str, Any]] = []
    for seed in range(1 if args.quick else args.seeds):
        for recipe in recipes(classes):
            run = Run(setup, recipe, tuple(parts_of(images)), seed)
            record = execute(run, args.work / "runs" / run.hash, fabric)
            tests = [next(iter(epoch.test.values())) for epoch in record.epochs]
            line = {
                "recipe": recipe.name,
                "seed": seed,
                "run": run.hash,
                "accuracy": [test["accuracy"] for test in tests],
                "map": [test["map"] for test in tests],
                "train_loss": [epoch.train_loss for epoch in record.epochs],
            }
            keys = ("config", "split_hash", "duration_s", "commit", "versions", "hardware")
            lines.append(line | {key: getattr(record, key) for key in keys})
            print(
                f"seed {seed} {recipe.name}: top-1 {tests[-1]['accuracy']:.3f}, mAP {tests[-1]['map']:.3f}", flush=True
            )
    write_jsonl(args.out / "records.jsonl", lines)
    rows: dict[str, Any] = {}
    base = [line["accuracy"][-1] for line in lines if line["recipe"] == "cross-entropy"]
    print(f"{'recipe':38}{'top-1 %':>9}{'sd':>6}{'vs CE':>8}  interval")
    for recipe in recipes(classes):
        found = [line["accuracy"][-1] for line in lines if line["recipe"] == recipe.name]
        difference = paired_difference(found, base)
        curve = np.mean([line["accuracy"] for line in lines if line["recipe"] == recipe.name], axis=0)
        rows[recipe.name] = {
            "accuracy": estimate(found).as_dict(),
            "vs_cross_entropy": difference.as_dict(),
            "curve": [round(float(value), 4) for value in curve],
        }
        row = rows[recipe.name]["accuracy"]
        span = difference.ci95 and f"[{100 * difference.ci95[0]:+.1f}, {100 * difference.ci95[1]:+.1f}]"
        sd = 100 * (row["sd"] or 0)
        print(f"{recipe.name:38}{100 * row['mean']:9.1f}{sd:6.1f}{100 * difference.mean:+8.1f}  {span or ''}")
    write_json(args.out / "summary.json", {"classes": classes, "recipes": rows})
    draw({name: row["curve"] for name, row in rows.items()}, args.out / "curves.svg")
    ratios = {
        name: round(row["accuracy"]["mean"] / rows["cross-entropy"]["accuracy"]["mean"], 3)
        for name, row in rows.items()
    }
    print(json.dumps({"benchmark": "thousand_classes", "classes": classes, "top1_over_cross_entropy": ratios}))


if __name__ == "__main__":
    main()
