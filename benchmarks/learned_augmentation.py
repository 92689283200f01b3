"""Does a learned augmentor collapse, and does what it learned help? A CIFAR-10 subset, ResNet-8.

Stage one is shared: for each seed one classifier, trained without augmentation. Every arm fine-tunes a copy of it for
the same number of epochs, with its own augmentation; learned ones are learned before that against the copy (stage
two), and their seconds are a column of their own. Accuracy is of the last epoch on all 10,000 test images; measures
of an augmentor are on validation images.

    python benchmarks/learned_augmentation.py --data cifar10.npz --out results/learned-augmentation [--quick] [--full]

``--full`` is the paper's size (ResNet-18, all images, 100 + 50 + 100 epochs). What is done is not done again;
``--time-budget`` (seconds) stops between arms, and the same command goes on. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import math
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from afield.algorithms import ERM
from afield.augment import (
    AffineAugmentor,
    AffineBounds,
    Augmentation,
    AugmentorConfig,
    RandomAffine,
    build_chain,
    compose,
    identity_distance,
)
from afield.augmentors import AffineSettings, learn_affine
from afield.classifier import Classifier
from afield.data import ImageSet, Validation, load, make_fold
from afield.evaluation import accuracy, diagnose, estimate, paired_difference
from afield.experiments.build import build_classifier
from afield.experiments.provenance import provenance
from afield.experiments.recipes import Recipe
from afield.experiments.setup import Setup, choose_training
from afield.experiments.stages import Predictor
from afield.models import BackboneConfig
from afield.records import read_json, seed_for, write_json, write_jsonl
from afield.training import Parts, Source, Training, fit, predict

BASELINE, DEFAULT, EVERY_IMAGE = "none", "default", "default, on every image"
MATCHED, MATCHED_EVERY = "random affine, matched", "random affine, matched, on every image"
SIZE = {"images": 6000, "epochs": (12, 10, 16), "seeds": (10, 5, 3), "backbone": BackboneConfig("resnet8")}
QUICK = {"images": 500, "epochs": (1, 1, 1), "seeds": (1, 1, 1)}
FULL = {"images": 50_000, "epochs": (100, 50, 100), "seeds": (3, 3, 3), "backbone": BackboneConfig("resnet18", "small")}

EVERY = AugmentorConfig(probability=1.0)
"""Every image is transformed, not half of them."""
FREE = dataclasses.replace(EVERY, form="free", draw="point")
"""The paper's: six free numbers, one transformation an image."""
PAPER = AffineSettings(augmentor=FREE, sign="printed", discriminator="saturating", recognised=None, refresh=False)
CORRECTED = dataclasses.replace(PAPER, sign="corrected")
BOUNDED = dataclasses.replace(CORRECTED, augmentor=dataclasses.replace(EVERY, draw="point"), discriminator="none")
SPREAD = dataclasses.replace(BOUNDED, augmentor=EVERY)
FROZEN = AffineSettings(augmentor=EVERY, refresh=False)

LEARNED: dict[str, AffineSettings] = {
    "printed sign + D": PAPER,
    "corrected sign + D": CORRECTED,
    "corrected, non-saturating D": dataclasses.replace(CORRECTED, discriminator="non_saturating"),
    "bounded, no D": BOUNDED,
    "bounded, noise input": dataclasses.replace(BOUNDED, augmentor=dataclasses.replace(EVERY, draw="noise")),
    "distribution": SPREAD,
    "distribution, target entropy": dataclasses.replace(SPREAD, target_entropy=0.6),
    "distribution, fixed teacher weight": dataclasses.replace(SPREAD, recognised=0.9, recognition_weight=1.0),
    "distribution, adaptive teacher": FROZEN,
    "every image, no spread reward": AffineSettings(augmentor=EVERY, spread_weight=0.0),
    "every image, more entropy": AffineSettings(augmentor=EVERY, entropy_weight=5.0, spread_weight=0.02),
    "every image, recognised 0.8": AffineSettings(augmentor=EVERY, recognised=0.8),
    EVERY_IMAGE: AffineSettings(augmentor=EVERY),
    DEFAULT: AffineSettings(),
}
"""The paper's way, then one remedy after another."""

RIVALS = (BASELINE, DEFAULT, MATCHED, "trivialaugment")
"""What the question is about; these have the most seeds."""
FIRST = ("printed sign + D", "corrected sign + D", "random_affine", "mixup", "cutout", EVERY_IMAGE, MATCHED_EVERY)
"""The paper's way and other augmentations. All others are remedies that were tried, and have the fewest seeds."""


@dataclass(frozen=True)
class Study:
    """All that the arms of one seed share."""

    data: ImageSet
    setup: Setup
    second_epochs: int
    tuning: Training
    work: Path
    fabric: Fabric

    def parts(self, seed: int) -> tuple[Parts, Source]:
        """Training and validation images, and the test images, which nothing is selected on."""
        fold = make_fold(self.data, ("test",), self.setup.validation, seed)
        source = {"train": fold.train, "val": fold.val, "test": fold.tests["test"]}
        train, val, test = (Source(self.data.images, self.data.labels, source[name]) for name in source)
        return Parts(train, val, {}), test

    def train(
        self, classifier: Classifier, training: Training, augmentation: Augmentation, seed: int, to: Path
    ) -> float:
        """Train a classifier in place, resumably; the validation accuracy of the last epoch."""
        parts = self.parts(seed)[0]
        progress = fit(
            ERM(classifier, parts.train.domain_sizes),
            parts,
            training,
            augmentation,
            seed=seed,
            label=to.stem,
            checkpoint_file=to,
            fabric=self.fabric,
        )
        return float(progress.epochs[-1]["validation"]["accuracy"])

    def first(self, seed: int) -> Classifier:
        """Stage one's classifier, trained once a seed."""
        classifier = build_classifier(self.setup, Recipe("erm"), seed)
        self.train(classifier, self.setup.training, build_chain("none"), seed, self.work / f"first-{seed}.safetensors")
        return classifier

    def run(self, arm: str, seed: int) -> dict[str, Any]:
        """The record of one arm."""
        file = self.work / "arms" / f"{seed}-{arm.replace(' ', '_')}.json"
        if file.exists():
            return read_json(file)
        classifier, (parts, test) = self.first(seed), self.parts(seed)
        augmentation, learned = self.augmentation(arm, seed, classifier, parts)
        began, checkpoint = time.process_time(), file.with_suffix(".safetensors")
        tuned = copy.deepcopy(classifier)
        validation = self.train(tuned, self.tuning, augmentation, seed_for("tuning", seed), checkpoint)
        seconds = time.process_time() - began
        logits = predict(tuned, test, batch_size=500, fabric=self.fabric).numpy()
        record = {
            "arm": arm,
            "seed": seed,
            "accuracy": accuracy(logits, test.labels[test.indices]),
            "validation_accuracy": validation,
            "tuning_cpu_s": round(seconds, 1),
            **learned,
            "images": {"train": len(parts.train), "validation": len(parts.val), "test": len(test)},
            **provenance(),
        }
        write_json(file, record)
        checkpoint.unlink()
        return record

    def augmentation(
        self, arm: str, seed: int, classifier: Classifier, parts: Parts
    ) -> tuple[Augmentation, dict[str, Any]]:
        """An arm's augmentation, learned if it is a learned one, and what the record says of that."""
        if arm in LEARNED:
            settings = dataclasses.replace(LEARNED[arm], epochs=self.second_epochs)
            file = self.work / "augmentors" / f"{seed}-{arm.replace(' ', '_')}.safetensors"
            began = time.process_time()
            learned = learn_affine(
                Predictor(classifier),
                parts.train,
                {"validation": parts.val},
                settings,
                seed=seed,
                checkpoint_file=file.with_suffix(".checkpoint"),
                fabric=self.fabric,
            )
            learned.augmentor.write(file)
            return learned.augmentor, {
                "settings": dataclasses.asdict(settings),
                "search_cpu_s": round(time.process_time() - began, 1),
                "measures": learned.epochs[-1]["validation"],
                "epochs": learned.epochs,
            }
        if arm in (MATCHED, MATCHED_EVERY):
            default = AffineAugmentor.read(self.work / "augmentors" / f"{seed}-{DEFAULT}.safetensors")
            affine, distance = matched(default, parts.val)
            affine = dataclasses.replace(
                affine, probability=EVERY.probability if arm == MATCHED_EVERY else default.config.probability
            )
            return affine, {"settings": dataclasses.asdict(affine), "measures": {"distance": distance}}
        return build_chain(arm), {}


def matched(augmentor: AffineAugmentor, source: Source) -> tuple[RandomAffine, float]:
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


def subset(file: Path, images: int, folder: Path) -> ImageSet:
    """The first so many training images, in equal numbers of each class after a seeded shuffle, and all test images."""
    target = folder / f"{file.stem}-{images}.npz"
    if not target.exists():
        arrays = dict(np.load(file))
        labels = arrays["train_labels"]
        order = np.random.default_rng(seed_for("subset", file.stem, "train")).permutation(len(labels))
        names = np.unique(labels)
        chosen = np.concatenate([order[labels[order] == name][: images // len(names)] for name in names])
        target.parent.mkdir(parents=True, exist_ok=True)
        np.savez(target, **arrays | {"train_images": arrays["train_images"][chosen], "train_labels": labels[chosen]})
    return load(str(target))


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per arm: accuracy over seeds, paired with the baseline and with the matched random affine; measures; cost."""
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
            kept = [r["measures"]["recognised_after"] / r["measures"]["recognised_before"] for r in group]
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
    """The table."""
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
    """Run, write the records, print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="cifar10.npz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/learned-augmentation"))
    parser.add_argument("--arms", nargs="+", help="some of the arms")
    parser.add_argument("--seeds", nargs="+", type=int, help="some of the seeds")
    parser.add_argument("--time-budget", type=float, default=float("inf"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    size: dict[str, Any] = SIZE | (QUICK if args.quick else FULL if args.full else {})
    first, second, third = size["epochs"]
    training = choose_training("scratch", epochs=first, batch_size=128, warmup=0.2, augment="none", precision="bf16")
    data = subset(args.data, size["images"], args.work)
    study = Study(
        data,
        Setup(data, size["backbone"], False, Validation(), training),
        second,
        dataclasses.replace(training, epochs=third, learning_rate=training.learning_rate / 2),
        args.work,
        Fabric(accelerator="auto", precision="bf16-mixed"),
    )
    arms = dict.fromkeys((*RIVALS, *FIRST, *LEARNED), size["seeds"][2])
    arms |= dict.fromkeys(FIRST, size["seeds"][1]) | dict.fromkeys(RIVALS, size["seeds"][0])
    until, records = time.monotonic() + args.time_budget, []
    for seed in args.seeds or range(max(arms.values())):
        for arm in args.arms or (arm for arm, seeds in arms.items() if seed < seeds):
            if time.monotonic() < until:
                records.append(study.run(arm, seed))
                print(f"seed {seed} {arm}: {100 * records[-1]['accuracy']:.2f} %", flush=True)
    write_jsonl(args.out / "records.jsonl", records)
    rows = summarise(records)
    write_json(args.out / "summary.json", {"rows": rows})
    show(rows)
    print(
        json.dumps({"benchmark": "learned_augmentation", "accuracy": {r["arm"]: r["accuracy"]["mean"] for r in rows}})
    )


if __name__ == "__main__":
    main()
