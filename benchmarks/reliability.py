"""Do margin heads train from scratch as reliably as cross-entropy? CIFAR-10 and CIFAR-100 subsets, ResNet-8.

Three studies run every setting with every seed, on equal splits and initial weights:

* ``grid``: gradient x scale x margin x warm-up x neck, at 16 px, with little training: which settings fail, and how.
* ``confirm``: the default head at margins 0 to 0.5 and cross-entropy, at 32 px, with twice the images.
* ``heads``: every kind of head with its defaults and cross-entropy, with the setup of ``confirm``.

    python benchmarks/reliability.py --data FOLDER --out results/margin-reliability [--study grid] [--quick]

FOLDER contains ``cifar10.npz`` and ``cifar100.npz``. Finished runs are not repeated. ``--time-budget`` (seconds) stops
between runs; the same command then continues. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from afield.data import ImageSet, Validation, load, parts_of
from afield.evaluation import estimate, paired_difference
from afield.heads import scale_floor
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.recipes import RECIPES, Recipe
from afield.records import read_jsonl, seed_for, write_json, write_jsonl
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import execute
from afield.runs.run import Run
from afield.training.loop import DivergedError

MARGINS = (0.0, 0.1, 0.3, 0.5)
CLASSES = {"cifar10": 10, "cifar100": 100}
STUDIES = {
    "grid": {"images": 3000, "test": 2000, "side": 16, "epochs": 8, "batch": 64, "seeds": 3},
    "confirm": {"images": 6000, "test": 5000, "side": 32, "epochs": 12, "batch": 128, "seeds": 5},
}
STUDIES["heads"] = STUDIES["confirm"]
HEADS = ("erm", "normalized_softmax", "arcface", "cosface", "sphereface", "subcenter_arcface", "adacos")
"""The recipes of the study of heads. Each has one head with its defaults, and cross-entropy as the loss."""
RIVALS = {"ce": "erm", "arcface": "arcface"}
"""The recipes that the others are compared with, by their suffix in the summary."""


def subset(file: Path, images: int, test: int, side: int, folder: Path) -> ImageSet:
    """A number of images of each class after a seeded shuffle, at 32 px, or at 16 px by averaging 2 x 2."""
    target = folder / f"{file.stem}-{images}-{side}px.npz"
    if not target.exists():
        source, arrays = np.load(file), {}
        for split, count in (("train", images), ("test", test)):
            labels = source[f"{split}_labels"]
            order = np.random.default_rng(seed_for("subset", file.stem, split)).permutation(len(labels))
            per_class = count // len(np.unique(labels))
            chosen = np.concatenate([order[labels[order] == name][:per_class] for name in np.unique(labels)])
            pixels = source[f"{split}_images"][chosen]
            step = 32 // side
            pixels = pixels.reshape(len(chosen), side, step, side, step, 3).mean((2, 4)).round().astype(np.uint8)
            arrays |= {f"{split}_images": pixels, f"{split}_labels": labels[chosen]}
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez(target, **arrays)
    return load(str(target))


def margin_recipe(name: str, options: dict[str, Any], neck: bool = False) -> Recipe:
    """An ArcFace head with these options."""
    return Recipe(name, head="arcface", head_options=options, neck=neck)


def grid(classes: int, steps: int) -> Iterator[tuple[dict[str, Any], Recipe]]:
    """Every setting with its recipe; cross-entropy with and without the neck comes first.

    A margin of 0 knows neither gradient form nor warm-up, which is a quarter of the steps.
    """
    for neck in (False, True):
        yield {"head": "linear", "neck": neck}, Recipe("erm+neck" if neck else "erm", neck=neck)
    scales = {"1": 1.0, "floor": round(scale_floor(classes), 6), "auto": "auto", "16": 16.0, "30": 30.0, "64": 64.0}
    for neck, (label, scale), margin in product((False, True), scales.items(), MARGINS):
        forms = product(("straight_through", "exact"), (False, True)) if margin else [("straight_through", False)]
        for gradient, warmup in forms:
            setting = {"scale": label, "margin": margin, "gradient": gradient, "warmup": warmup, "neck": neck}
            options = {"scale": scale, "margin_rad": margin, "gradient": gradient}
            if warmup:
                options["margin_warmup"] = steps // 4
            name = "-".join(str(value) for value in setting.values())
            yield {"head": "arcface", **setting}, margin_recipe(name, options, neck)


def confirm(classes: int, steps: int) -> Iterator[tuple[dict[str, Any], Recipe]]:
    """Cross-entropy and the default head at each margin."""
    yield {"head": "linear"}, Recipe("erm")
    for margin in MARGINS:
        yield {"head": "arcface", "margin": margin}, margin_recipe(f"arcface-{margin}", {"margin_rad": margin})


def heads(classes: int, steps: int) -> Iterator[tuple[dict[str, Any], Recipe]]:
    """Each kind of head with its defaults; cross-entropy comes first."""
    for name in HEADS:
        yield {"head": RECIPES[name].head}, RECIPES[name]


def run_study(study: str, data: str, args: argparse.Namespace, until: float) -> list[dict[str, Any]]:
    """All runs of a study within the time budget: setting, seed, and top-1 and mAP of the last epoch, or the error."""
    size = STUDIES[study] | ({"images": 500, "test": 500, "epochs": 1, "seeds": 1} if args.quick else {})
    images = subset(args.data / f"{data}.npz", size["images"], size["test"], size["side"], args.work)
    amounts = {"epochs": size["epochs"], "batch_size": size["batch"], "warmup": 0.3}
    precision = "32" if args.quick else "bf16"  # CPUs can be slow in bf16
    training = choose_training("scratch", augment="crop_flip", precision=precision, **amounts)
    setup = ExperimentConfig(images, BackboneConfig("resnet8"), False, Validation(), training)
    steps = size["epochs"] * int(size["images"] * 0.9 // size["batch"])
    settings = list({"grid": grid, "confirm": confirm, "heads": heads}[study](CLASSES[data], steps))
    fabric = make_fabric("cpu", precision)
    found = []
    for seed, (setting, recipe) in product(range(size["seeds"]), settings[: 8 if args.quick else None]):
        if time.monotonic() > until:
            break
        run = Run(setup, recipe, tuple(parts_of(images)), seed)
        line = {"study": study, "data": data, "seed": seed, "recipe": recipe.name, **setting, "run": run.hash}
        try:
            record = execute(run, args.work / "runs" / run.hash, fabric)
            last = record.epochs[-1]
            line |= {"train_loss": last.train_loss, **next(iter(last.test.values()))}
            line |= {
                key: getattr(record, key) for key in ("split_hash", "duration_s", "commit", "versions", "hardware")
            }
        except DivergedError:
            line |= {"diverged": True, "accuracy": 1 / CLASSES[data], "map": 1 / CLASSES[data]}
        found.append(line)
        print(f"{study} {data} seed {seed} {recipe.name}: {line['accuracy']:.3f} {line['map']:.3f}", flush=True)
    return found


def summarize(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Top-1 and mAP over seeds of each study, data set and setting, and paired differences to the rivals.

    The rivals are cross-entropy without neck and, in the study of heads, ArcFace. A setting *fails* where its mean
    top-1 is under half of cross-entropy's.
    """
    keys = ("head", "scale", "margin", "gradient", "warmup", "neck")
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["study"], line["data"], line["recipe"]), []).append(line)
    rows = []
    for (study, data, recipe), group in groups.items():
        by_seed = {line["seed"]: line for line in group}
        base = {line["seed"]: line for line in groups[study, data, "erm"]}
        seeds = sorted(by_seed.keys() & base.keys())
        row = {
            "study": study,
            "data": data,
            "recipe": recipe,
            **{key: group[0][key] for key in keys if key in group[0]},
        }
        for metric in ("accuracy", "map"):
            row[metric] = estimate([by_seed[seed][metric] for seed in seeds]).as_dict()
            for suffix, name in RIVALS.items():
                rival = {line["seed"]: line[metric] for line in groups.get((study, data, name), ())}
                if common := [seed for seed in seeds if seed in rival]:
                    pairs = [by_seed[seed][metric] for seed in common], [rival[seed] for seed in common]
                    difference = paired_difference(*pairs)
                    row[f"{metric}_vs_{suffix}"] = {"mean": difference.mean, "ci95": difference.ci95}
        row["fails"] = row["accuracy"]["mean"] < 0.5 * estimate([base[seed]["accuracy"] for seed in seeds]).mean
        rows.append(row)
    return rows


def main() -> None:
    """Run, write the records, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/reliability"), help="folder for runs and subsets")
    parser.add_argument("--study", nargs="+", choices=STUDIES, default=list(STUDIES))
    parser.add_argument("--sets", nargs="+", choices=CLASSES, default=list(CLASSES))
    parser.add_argument("--time-budget", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    until = time.monotonic() + args.time_budget
    for study, data in product(args.study, args.sets):
        write_jsonl(args.out / f"{study}-{data}.jsonl", run_study(study, data, args, until))
    lines = [line for file in sorted(args.out.glob("*.jsonl")) for line in read_jsonl(file)]
    rows = summarize(lines)
    write_json(args.out / "summary.json", {"rows": rows})
    print(f"{'study':8}{'data':10}{'setting':44}{'top-1':>7}{'mAP':>7}{'vs CE':>8}  interval")
    for row in rows:
        gain, span = row["accuracy_vs_ce"]["mean"], row["accuracy_vs_ce"]["ci95"]
        interval = f"[{100 * span[0]:+.1f}, {100 * span[1]:+.1f}]" if span else ""
        print(
            f"{row['study']:8}{row['data']:10}{row['recipe']:44}{100 * row['accuracy']['mean']:7.1f}"
            f"{100 * row['map']['mean']:7.1f}{100 * gain:+8.1f}  {interval}{'  FAILS' if row['fails'] else ''}"
        )
    ratios = {}
    for row in (row for row in rows if row["study"] != "grid"):
        cross_entropy = row["accuracy"]["mean"] - row["accuracy_vs_ce"]["mean"]
        ratios[f"{row['study']}/{row['data']}/{row['recipe']}"] = round(row["accuracy"]["mean"] / cross_entropy, 3)
    print(json.dumps({"benchmark": "reliability", "top1_over_cross_entropy": ratios}))


if __name__ == "__main__":
    main()
