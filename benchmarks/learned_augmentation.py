"""Does a learned augmentor collapse, and does the learned augmentation help? A CIFAR-10 subset, ResNet-8.

Stage one is shared: one classifier for each seed, trained without augmentation. Every arm fine-tunes a copy of it for
the same number of epochs with its own augmentation (stage three). A learned augmentation is first learned with that
copy (stage two), and its time is a separate column. The accuracy is that of the last epoch on all 10,000 test images.
The measures of an augmentor use validation images.

    python benchmarks/learned_augmentation.py --data cifar10.npz --out results/learned-augmentation [--size SIZE]

``--size`` sets the number of images, the epochs of the stages and the seeds. ``few`` and ``many`` compare the main arms
on 2,000 and 20,000 images, ``many-long`` with four times the epochs of stage three. ``full`` is the paper's size
(ResNet-18, all images, 100 + 50 + 100 epochs). Finished arms are not repeated.
``--time-budget`` (seconds) stops between arms; the same command then continues. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from afield.augment import AUGMENTATIONS, AffineAugmentor, AffineBounds, RandomAffine, compose, identity_distance
from afield.augment.learned import AffineSettings
from afield.data import ImageSet, Validation, load
from afield.evaluation import diagnose, estimate, paired_difference
from afield.launch.fabric import make_fabric
from afield.launch.local import Executor
from afield.models import BackboneConfig
from afield.recipes import Recipe
from afield.records import run_hash, seed_for, write_json, write_jsonl
from afield.reproduction.augmentation.arms import BASELINE, DEFAULT, EVERY_IMAGE, LEARNED, arm as arm_recipe
from afield.runs.callback import SILENT
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import AUGMENTOR
from afield.runs.run import Run, prepare
from afield.runs.stages import run_stages
from afield.training import Subset

RESNET8 = BackboneConfig("resnet8")


@dataclass(frozen=True)
class Size:
    """Numbers of images, epochs of the three stages, seeds of each group of arms, and least steps of learning."""

    images: int
    tested: int
    epochs: tuple[int, int, int]
    seeds: tuple[int, int, int]
    backbone: BackboneConfig = RESNET8
    epoch_steps: int = AffineSettings.epoch_steps


SIZES = {
    "quick": Size(500, 10_000, (1, 1, 1), (1, 1, 1), epoch_steps=1),
    "few": Size(2000, 4000, (12, 10, 16), (5, 0, 0)),
    "usual": Size(6000, 10_000, (12, 10, 16), (10, 5, 3)),
    "many": Size(20_000, 4000, (3, 10, 4), (5, 0, 0)),
    "many-long": Size(20_000, 4000, (3, 10, 16), (5, 0, 0)),
    "full": Size(50_000, 10_000, (100, 50, 100), (3, 3, 3), BackboneConfig("resnet18", "small")),
}

MATCHED, MATCHED_EVERY = "random affine, matched", "random affine, matched, on every image"

RIVALS = (BASELINE, DEFAULT, MATCHED, "trivialaugment")
"""The arms of the main question, with the most seeds."""
FIRST = ("printed sign + D", "corrected sign + D", "random_affine", "mixup", "cutout", EVERY_IMAGE, MATCHED_EVERY)
"""The paper's arms and other augmentations. All other arms are attempted remedies, with the fewest seeds."""


def subset(file: Path, size: Size, folder: Path) -> ImageSet:
    """A subset with equal numbers of images of each class, after a seeded shuffle."""
    whole = size.tested == 10_000
    target = folder / f"{file.stem}-{size.images}{'' if whole else f'-{size.tested}'}.npz"
    if not target.exists():
        arrays = dict(np.load(file))
        for part, count in (("train", size.images), *(() if whole else (("test", size.tested),))):
            labels = arrays[f"{part}_labels"]
            order = np.random.default_rng(seed_for("subset", file.stem, part)).permutation(len(labels))
            names = np.unique(labels)
            chosen = np.concatenate([order[labels[order] == name][: count // len(names)] for name in names])
            arrays |= {f"{part}_images": arrays[f"{part}_images"][chosen], f"{part}_labels": labels[chosen]}
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez(target, **arrays)
    return load(str(target))


def matched(augmentor: AffineAugmentor, source: Subset) -> tuple[RandomAffine, float]:
    """A random affine within the augmentor's bounds times a factor, of the same mean distance from the identity."""
    generator = torch.Generator().manual_seed(seed_for("matched"))
    images, _ = source.take(np.arange(min(len(source), 600)))
    wanted = float(identity_distance(augmentor.sample(images, generator).theta).mean())
    limits = augmentor.config.bounds.limits()
    drawn = 2 * torch.rand(4000, 6, generator=generator) - 1
    low, high = 0.0, 2.0
    for _ in range(40):
        factor = (low + high) / 2
        below = float(identity_distance(compose(drawn * limits * factor)).mean()) < wanted
        low, high = (factor, high) if below else (low, factor)
    turn, scale, _, shear, shift, _ = (limits * low).tolist()
    bounds = AffineBounds(math.degrees(turn), math.exp(scale), shear, shift / 2)
    return RandomAffine(bounds, padding=augmentor.config.padding), wanted


def matched_recipe(arm: str, run: Run, executor: Executor) -> tuple[Recipe, dict[str, Any]]:
    """The recipe of a matched arm, and what its record says; the run is that of the default arm, and finished."""
    _, parts, _ = prepare(run, None, executor.fabric(run))
    default = AffineAugmentor.read(executor.folder(run) / AUGMENTOR)
    affine, distance = matched(default, parts.val)
    affine = dataclasses.replace(affine, probability=1.0 if arm == MATCHED_EVERY else default.config.probability)
    settings = dataclasses.asdict(affine)
    name = f"affine-{run_hash(settings)}"
    if name not in AUGMENTATIONS:
        AUGMENTATIONS.add(name, lambda: affine, summary="A random affine map, matched to a learned one.", reference="-")
    return Recipe(arm, augment=name), {"settings": settings, "measures": {"distance": distance}}


def train_first_stage(seed: int, setup: ExperimentConfig, executor: Executor) -> None:
    """Train the classifier that all arms of a seed share, so that no arm's time includes it."""
    run = Run(setup, arm_recipe(BASELINE, 1), ("test",), seed)
    _, parts, classifier = prepare(run, None, executor.fabric(run))
    run_stages(run, classifier, parts, executor.folder(run), executor.fabric(run), SILENT)


def run_arm(arm: str, seed: int, setup: ExperimentConfig, size: Size, executor: Executor) -> dict[str, Any]:
    """The record of an arm, trained unless it is done; a matched arm needs the default one."""
    name, learned = DEFAULT if arm in (MATCHED, MATCHED_EVERY) else arm, dict[str, Any]()
    recipe = arm_recipe(name, size.epochs[1], epoch_steps=size.epoch_steps)
    run = Run(setup, recipe, ("test",), seed)
    record = executor.execute(run)
    if arm != recipe.name:
        recipe, learned = matched_recipe(arm, run, executor)
        record = executor.execute(dataclasses.replace(run, recipe=recipe))
    elif record.learned:
        found = record.learned
        learned = {"settings": found.settings, "search_cpu_s": found.search_s, "measures": found.measures}
    last = record.epochs[-1]
    return {
        "arm": arm,
        "seed": seed,
        "accuracy": last.test["test"]["accuracy"],
        "validation_accuracy": last.validation["accuracy"],
        **learned,
        "tuning_cpu_s": round(record.duration_s - learned.get("search_cpu_s", 0.0), 1),
        **{key: getattr(record, key) for key in ("images", "versions", "hardware", "commit")},
    }


def summarize(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy of each arm over seeds, paired differences to its rivals, measures of collapse, and cost."""
    value = {(record["arm"], record["seed"]): record["accuracy"] for record in records}
    rows = []
    for arm in dict.fromkeys(record["arm"] for record in records):
        group = [record for record in records if record["arm"] == arm]
        row: dict[str, Any] = {"arm": arm, "accuracy": estimate([record["accuracy"] for record in group]).as_dict()}
        for rival in (BASELINE, MATCHED, "random_affine", "trivialaugment"):
            seeds = [record["seed"] for record in group if (rival, record["seed"]) in value]
            if seeds:
                pairs = [value[arm, seed] for seed in seeds], [value[rival, seed] for seed in seeds]
                row[f"vs {rival}"] = paired_difference(*pairs).as_dict()
        for name in group[0].get("measures", {}):
            row[name] = estimate([record["measures"][name] for record in group]).as_dict()
        if "entropy_after" in row:
            gains = [r["measures"]["entropy_after"] - r["measures"]["entropy_before"] for r in group]
            kept = [r["measures"]["recognized_after"] / r["measures"]["recognized_before"] for r in group]
            row |= {"entropy_gain": estimate(gains).as_dict(), "kept": estimate(kept).as_dict()}
            found = [diagnose(record["measures"], record["settings"]) for record in group]
            row["collapses"] = dict(Counter(name for each in found for name in each))
        for name in ("validation_accuracy", "search_cpu_s", "tuning_cpu_s"):
            values = [record[name] for record in group if name in record]
            if values:
                row[name] = estimate(values).as_dict()
        rows.append(row)
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    columns = ("n", "test %", "vs none", "vs matched", "distance", "gain", "kept %", "search s")
    print(f"{'arm':36}" + "".join(f"{column:>11}" for column in columns) + "  collapse")
    for row in rows:
        cells = [
            f"{row['accuracy']['n']}",
            f"{100 * row['accuracy']['mean']:.1f}",
            *(
                f"{100 * row[f'vs {rival}']['mean']:+.1f}" if f"vs {rival}" in row else ""
                for rival in (BASELINE, MATCHED)
            ),
            f"{row['distance']['mean']:.2f}" if "distance" in row else "",
            *(
                f"{row['entropy_gain']['mean']:+.2f} {100 * row['kept']['mean']:.0f}".split()
                if "kept" in row
                else ("", "")
            ),
            f"{row['search_cpu_s']['mean']:.0f}" if "search_cpu_s" in row else "",
        ]
        print(f"{row['arm']:36}" + "".join(f"{cell:>11}" for cell in cells), "", ", ".join(row.get("collapses", [])))


def main() -> None:
    """Run, write the records, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="cifar10.npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/learned-augmentation"))
    parser.add_argument("--arms", nargs="+", help="the arms to run (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, help="the seeds to run (default: all)")
    parser.add_argument("--time-budget", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--size", choices=SIZES, default="usual")
    parser.add_argument("--quick", action="store_const", const="quick", dest="size", help="the same as --size quick")
    args = parser.parse_args()
    torch.set_num_threads(1)
    size = SIZES[args.size]
    first, _, third = size.epochs
    precision = "32" if args.size == "quick" else "bf16"  # CPUs can be slow in bf16
    training = choose_training("scratch", epochs=first, batch_size=128, warmup=0.2, augment="none", precision=precision)
    data = subset(args.data, size, args.work)
    tuning = dataclasses.replace(training, epochs=third, learning_rate=training.learning_rate / 2)
    setup = ExperimentConfig(data, size.backbone, False, Validation(), training, tuning=tuning)
    executor = Executor(args.work, partial(make_fabric, "auto"), threads=1)
    arms = dict.fromkeys((*RIVALS, *FIRST, *LEARNED), size.seeds[2])
    arms |= dict.fromkeys(FIRST, size.seeds[1]) | dict.fromkeys(RIVALS, size.seeds[0])
    until, records = time.monotonic() + args.time_budget, []
    for seed in args.seeds or range(max(arms.values())):
        if time.monotonic() < until:
            train_first_stage(seed, setup, executor)
        for arm in args.arms or [arm for arm, seeds in arms.items() if seed < seeds]:
            if time.monotonic() < until:
                records.append(run_arm(arm, seed, setup, size, executor))
                print(f"seed {seed} {arm}: {100 * records[-1]['accuracy']:.2f} %", flush=True)
    write_jsonl(args.out / "records.jsonl", records)
    rows = summarize(records)
    write_json(args.out / "summary.json", {"rows": rows})
    show(rows)
    print(
        json.dumps({"benchmark": "learned_augmentation", "accuracy": {r["arm"]: r["accuracy"]["mean"] for r in rows}})
    )


if __name__ == "__main__":
    main()
