"""Is a policy that was searched on a few of your own images better than none? A CIFAR-10 subset, ResNet-8.

Fast AutoAugment searches on the training images only. Then networks are trained with equal epochs, splits and initial
weights: without augmentation; with the searched policy; with crop and flip; and with crop and flip followed by the
searched policy, by AutoAugment's policy for CIFAR-10, and by TrivialAugment. There is one search; the seeds are those
of training.

    python benchmarks/fast_autoaugment.py --data FOLDER --out results/fast-autoaugment [--seeds 3] [--quick]

FOLDER contains ``cifar10.npz``. Finished runs are not repeated. ``--time-budget`` (seconds) ends the search early and
stops between runs; the same command then continues. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from reliability import subset

import afield
from afield.augment import Policy
from afield.data import ImageSet, Validation, parts_of
from afield.evaluation import estimate, paired_difference
from afield.models import BackboneConfig
from afield.recipes import Recipe
from afield.records import write_json, write_jsonl
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import execute
from afield.runs.run import Run

SIZE = {"images": 2000, "test": 4000, "epochs": 40, "folds": 5, "trials": 40, "top": 5}
QUICK = {"images": 500, "test": 500, "epochs": 1, "folds": 2, "trials": 3, "top": 2}
BASE = "crop_flip"
RIVALS = ("autoaugment_cifar10", "trivialaugment")


def search(images: ImageSet, size: dict[str, int], work: Path, until: float) -> Policy:
    """Search the policy; its file is ``search/policy.json``."""
    return afield.augment_search(
        data=images.name,
        out=work / "search",
        augment=BASE,
        precision="bf16",
        device="cpu",
        epochs=size["epochs"],
        folds=size["folds"],
        searches=1,
        trials=size["trials"],
        top=size["top"],
        time_budget=None if until == float("inf") else f"{max(0.0, until - time.monotonic())}s",
    )


def same_images(policy: Policy, saved: Path, images: ImageSet) -> bool:
    """Whether the saved policy draws the same images bit for bit from equal generators."""
    batch = torch.from_numpy(images.images[:512]).permute(0, 3, 1, 2)
    first, second = (p(batch, generator=torch.Generator().manual_seed(0)) for p in (policy, Policy.read(saved)))
    return torch.equal(first, second)


def train(
    setup: ExperimentConfig, recipes: dict[str, Recipe], seeds: int, search_s: float, work: Path, until: float
) -> list[dict[str, Any]]:
    """A line for each run within the time budget, seed by seed; the accuracy is that of the last epoch."""
    fabric, lines = Fabric(accelerator="cpu", precision="bf16-mixed"), []
    for seed, (name, recipe) in product(range(seeds), recipes.items()):
        if time.monotonic() > until:
            break
        run = Run(setup, recipe, tuple(parts_of(setup.data)), seed)
        record = execute(run, work / "runs" / run.hash, fabric)
        accuracy = next(iter(record.epochs[-1].test.values()))["accuracy"]
        line = {"augment": name, "seed": seed, "accuracy": accuracy, "train_loss": record.epochs[-1].train_loss}
        line["search_s"] = search_s if name.endswith("found") else 0.0
        kept = ("run", "config", "split_hash", "duration_s", "versions", "hardware", "commit")
        lines.append(line | {key: getattr(record, key) for key in kept})
        print(f"{name} seed {seed}: {100 * accuracy:.2f} %, {record.duration_s:.0f} s", flush=True)
    return lines


def summarize(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy of each augmentation over seeds, paired differences to none and to crop and flip, and search time."""
    by_name: dict[str, dict[int, dict[str, Any]]] = {}
    for line in lines:
        by_name.setdefault(line["augment"], {})[line["seed"]] = line
    rows = []
    for name, group in by_name.items():
        seeds = sorted(group)
        over = {other: [by_name[other][seed]["accuracy"] for seed in seeds] for other in _plain(name)}
        accuracy = [group[seed]["accuracy"] for seed in seeds]
        rows.append(
            {
                "augment": name,
                "accuracy": estimate(accuracy).as_dict(),
                "over": {other: paired_difference(accuracy, plain).as_dict() for other, plain in over.items()},
                "search_s": group[seeds[0]]["search_s"],
            }
        )
    return rows


def _plain(name: str) -> list[str]:
    """The baselines of an augmentation: none, and the augmentation that it extends."""
    return [other for other in ("none", BASE) if name != other and (other == "none" or name.startswith(other))]


def main() -> None:
    """Search, train, write the records, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/fast-autoaugment"), help="folder for search, runs, subset"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rivals", nargs="*", choices=RIVALS, default=RIVALS)
    parser.add_argument("--time-budget", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    until, size = time.monotonic() + args.time_budget, QUICK if args.quick else SIZE
    images = subset(args.data / "cifar10.npz", size["images"], size["test"], 32, args.work)
    policy = search(images, size, args.work, until)
    saved = args.out / "policy.json"
    policy.write(saved)
    training = choose_training("scratch", epochs=size["epochs"], augment=BASE, precision="bf16")
    setup = ExperimentConfig(images, BackboneConfig("resnet8"), False, Validation(), training)
    chains = {"none": "none", "found": str(saved), BASE: BASE, f"{BASE} + found": f"{BASE}+{saved}"}
    chains |= {f"{BASE} + {name}": f"{BASE}+{name}" for name in args.rivals}
    recipes = {name: Recipe("erm", augment=chain) for name, chain in chains.items()}
    lines = train(setup, recipes, args.seeds, policy.origin["seconds"]["all"], args.work, until)
    if not lines:
        parser.exit(2, "--time-budget ended before the first run; the same command goes on\n")
    write_jsonl(args.out / "records.jsonl", lines)
    rows = summarize(lines)
    write_json(args.out / "summary.json", {"policy": policy.digest, "size": size, "rows": rows})
    print(f"{'augmentation':32}{'n':>3}{'accuracy, %':>13}{'sd':>6}  {'95 %':16}{'search, s':>9}  difference, 95 %")
    for row in rows:
        value = row["accuracy"]
        line = f"{row['augment']:32}{value['n']:3}{100 * value['mean']:13.2f}{100 * (value['sd'] or 0):6.2f}"
        line += f"  {span(value):16}{row['search_s']:9.0f}  "
        print(
            line
            + "; ".join(f"{100 * gain['mean']:+.2f} {span(gain)} compared with {o}" for o, gain in row["over"].items())
        )
    found = {row["augment"]: row["accuracy"]["mean"] for row in rows}
    result = {f"{name}_over_none": round(value / found["none"], 4) for name, value in found.items() if name != "none"}
    result |= {"search_s": policy.origin["seconds"]["all"], "same_images": same_images(policy, saved, images)}
    print(json.dumps({"benchmark": "fast_autoaugment", **result}))


def span(value: dict[str, Any]) -> str:
    """An interval in percentage points."""
    return "" if value["ci95"] is None else f"[{100 * value['ci95'][0]:+.2f}, {100 * value['ci95'][1]:+.2f}]"


if __name__ == "__main__":
    main()
