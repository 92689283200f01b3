"""Accuracy of `fast_cifar` and plain training on the test images of CIFAR-10, at equal wall time.

    python benchmarks/fast_cifar.py --data cifar10.npz --seeds 0 1 2 [--minutes 10] [--threads 1] [--quick]

Three contestants train one after the other on the same threads: `fast_cifar` (preset, recipe and a whitened network),
and the preset `scratch` with batches of 128, crops and flips and the recipe `erm`, on ResNet-8 and on ResNet-18 with
its standard stem. Before training, a few steps of each are timed in float32 and in bf16. The faster precision is used,
with the number of epochs that is closest to `--minutes`, so every schedule is complete. The clock measures training
only, without this timing and without evaluation. All training images are used except 1 %, which the loop evaluates
after each epoch; nothing is selected on them. The accuracy is that of the last epoch; the accuracy with test-time
augmentation is reported separately.

Every seed times the steps and trains all contestants again, so the number of epochs can differ between seeds. Finished
contestants are kept in `--out`; the same command continues with the next one. `--time-budget` (seconds) stops between
contestants. With `--threads 1 --only NAME` several can train at once, each on its own core. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from afield.augment import build_chain
from afield.classifier import Classifier
from afield.data import ImageSet, Validation, load
from afield.data.images import SPLITS
from afield.deploy.tta import mean_logits
from afield.evaluation import accuracy, estimate, paired_difference
from afield.models import BackboneConfig
from afield.recipes import RECIPES
from afield.records import read_json, write_json, write_jsonl
from afield.runs.build import build_algorithm
from afield.runs.config import ExperimentConfig
from afield.runs.provenance import provenance
from afield.runs.run import Run, prepare
from afield.training import PRESETS, EpochReport, Splits, Subset, TrainConfig, fit, predict

PLAIN = dataclasses.replace(PRESETS["scratch"], batch_size=128, augment="crop_flip")
TEST = SPLITS.index("test")
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class Contestant:
    """A network and its training settings, except the number of epochs."""

    name: str
    backbone: str
    training: TrainConfig
    recipe: str

    def run(self, data: ImageSet, training: TrainConfig, seed: int) -> Run:
        """The configuration of a run, which leaves out the given test set."""
        setup = ExperimentConfig(data, BackboneConfig(self.backbone), False, Validation(0.01), training)
        return Run(setup, RECIPES[self.recipe], ("test",), seed)


@dataclass(frozen=True)
class Outcome:
    """The result of training: the classifier that predicts, images seen, and training seconds without evaluation."""

    classifier: Classifier
    images: int
    seconds: float


def train(run: Run, fabric: Fabric, steps: int | None = None) -> Outcome:
    """Train a run, or a number of steps of it, without using the images of the test set."""
    _, parts, classifier = prepare(run, None, fabric)
    source, batch = parts.train, min(run.training.batch_size, len(parts.train))
    if steps is not None:
        source = dataclasses.replace(source, indices=source.indices[: steps * batch])
    images = len(source) // batch * batch
    algorithm = build_algorithm(run.recipe, classifier, source.domain_sizes, run.seed)
    seconds: list[float] = []

    def on_epoch(report: EpochReport) -> None:
        seconds.append(images / report.images_per_second)
        if steps is None:
            print(f"  epoch {report.epoch} of {report.epochs}: {report.images_per_second:,.0f} images/s", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        fit(
            algorithm,
            Splits(source, parts.val, {}),
            run.training,
            build_chain(run.training.augment),
            seed=run.seed,
            label=run.label,
            checkpoint_file=Path(folder) / "checkpoint.safetensors",
            fabric=fabric,
            on_epoch=on_epoch,
        )
    return Outcome(algorithm.predictor(), images * len(seconds), sum(seconds))


def rate(contestant: Contestant, data: ImageSet, fabric: Fabric, seconds: float, seed: int) -> float:
    """Images per second, measured over about this many seconds of training after two shorter trials."""
    run = contestant.run(data, dataclasses.replace(contestant.training, epochs=1), seed)
    found, most = 0.0, max(1, len(data) // contestant.training.batch_size)
    for share in (0.0, 0.1, 1.0):
        steps = min(most, max(2, round(share * seconds * found / contestant.training.batch_size)))
        outcome = train(run, fabric, steps)
        found = outcome.images / outcome.seconds
    return found


def compete(contestant: Contestant, data: ImageSet, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """The record of one contestant with one seed."""
    print(f"{contestant.name}, seed {seed}", flush=True)
    fabrics = {name: Fabric(accelerator=args.device, devices=1, precision=PRECISIONS[name]) for name in PRECISIONS}
    budget = 60 * args.minutes
    rates = {name: rate(contestant, data, fabric, budget / 50, seed) for name, fabric in fabrics.items()}
    precision = max(rates, key=lambda name: rates[name])
    print(f"  {', '.join(f'{name}: {value:,.0f} images/s' for name, value in rates.items())}", flush=True)
    images = 0.99 * int((data.given != TEST).sum())
    epochs = max(1, round(budget * rates[precision] / images))
    training = dataclasses.replace(contestant.training, epochs=epochs, precision=precision)
    began = time.perf_counter()
    outcome = train(contestant.run(data, training, seed), fabrics[precision])
    wall = time.perf_counter() - began
    rows = np.flatnonzero(data.given == TEST)

    def logits(pixels: np.ndarray) -> torch.Tensor:
        source = Subset(np.ascontiguousarray(pixels), np.zeros(len(pixels), np.int64), np.arange(len(pixels)))
        return predict(outcome.classifier, source, batch_size=500, fabric=fabrics[precision])

    pixels, labels = data.images[rows], data.labels[rows]
    return {
        "contestant": contestant.name,
        "backbone": contestant.backbone,
        "recipe": contestant.recipe,
        "seed": seed,
        "accuracy": accuracy(logits(pixels).numpy(), labels),
        "accuracy_tta": accuracy(mean_logits(logits, pixels, "mirror_translate").numpy(), labels),
        "budget_s": budget,
        "training_s": round(outcome.seconds, 3),
        "wall_s": round(wall, 1),
        "epochs": epochs,
        "images_per_second": round(outcome.images / outcome.seconds, 1),
        "rates_before": {name: round(value, 1) for name, value in rates.items()},
        "images": {"train": outcome.images // epochs, "test": len(rows)},
        "training": dataclasses.asdict(training),
        **provenance(),
    }


def summarize(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy of each contestant over seeds, and the paired difference of `fast_cifar` to it, without and with TTA."""
    by_name: dict[str, dict[int, dict[str, Any]]] = {}
    for record in records:
        by_name.setdefault(record["contestant"], {})[record["seed"]] = record
    rows = []
    for name, group in by_name.items():
        row: dict[str, Any] = {"contestant": name, "backbone": next(iter(group.values()))["backbone"]}
        ours = by_name.get("fast_cifar", {})
        for metric in ("accuracy", "accuracy_tta"):
            row[metric] = estimate([record[metric] for record in group.values()]).as_dict()
            if name != "fast_cifar" and (seeds := sorted(group.keys() & ours.keys())):
                pairs = [[each[seed][metric] for seed in seeds] for each in (ours, group)]
                row[f"fast_cifar_over_{metric}"] = paired_difference(*pairs).as_dict()
        for key in ("training_s", "images_per_second"):
            row[key] = estimate([record[key] for record in group.values()]).as_dict()
        row["epochs"] = sorted({record["epochs"] for record in group.values()})
        rows.append(row)
    return rows


def main() -> None:
    """Train the contestants that are not finished, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10.npz", help="an .npz file with training and test images")
    parser.add_argument("--minutes", type=float, default=10, help="training time of each contestant")
    parser.add_argument("--backbone", default="whitened_vgg", help="backbone of fast_cifar")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="CPU threads of each contestant (default: all cores)"
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of initial weights and training")
    parser.add_argument("--time-budget", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--only", nargs="+", help="contestants to train; several processes can share one folder")
    parser.add_argument("--quick", action="store_true", help="one second for each contestant, as a functional check")
    parser.add_argument("--out", type=Path, default=Path("results/fast-cifar"))
    args = parser.parse_args()
    if args.quick:
        args.minutes = 1 / 60
    torch.set_num_threads(args.threads)
    data = load(args.data)
    contestants = (
        Contestant("fast_cifar", args.backbone, PRESETS["fast_cifar"], "fast_cifar"),
        Contestant("ResNet-8", "resnet8", PLAIN, "erm"),
        Contestant("ResNet-18", "resnet18", PLAIN, "erm"),
    )
    chosen = args.only or [contestant.name for contestant in contestants]
    if unknown := set(chosen) - {contestant.name for contestant in contestants}:
        parser.error(f"--only takes {', '.join(contestant.name for contestant in contestants)}; got {min(unknown)}")
    until, records = time.monotonic() + args.time_budget, []
    for seed, contestant in product(args.seeds, contestants):
        file = args.out / f"{contestant.name}-{seed}.json"
        if contestant.name in chosen and not file.exists() and time.monotonic() < until:
            write_json(file, compete(contestant, data, seed, args))
        if file.exists():
            records.append(read_json(file))
    write_jsonl(args.out / "records.jsonl", records)
    rows = summarize(records)
    write_json(args.out / "summary.json", {"minutes": args.minutes, "rows": rows})
    columns = {"seed": 6, "accuracy, %": 13, "TTA, %": 8, "s": 8, "epochs": 8, "images/s": 10, "bits": 6}
    print(f"{'contestant':12}" + "".join(f"{name:>{width}}" for name, width in columns.items()))
    for record in records:
        print(
            f"{record['contestant']:12}{record['seed']:>6}{100 * record['accuracy']:>13.2f}"
            f"{100 * record['accuracy_tta']:>8.2f}{record['training_s']:>8.1f}{record['epochs']:>8}"
            f"{record['images_per_second']:>10,.0f}{record['training']['precision']:>6}"
        )
    names = ("accuracy", "accuracy_tta", "training_s", "images_per_second")
    result = {row["contestant"]: {name: row[name]["mean"] for name in names} for row in rows}
    print(json.dumps({"benchmark": "fast_cifar", "minutes": args.minutes, "contestants": result}))


if __name__ == "__main__":
    main()
