"""Searched, published and learned augmentations with few images. A CIFAR-10 subset, ResNet-8.

Networks are trained with equal epochs, splits and initial weights: without augmentation; with crop and flip; and with
crop and flip followed by each of the rivals. The rivals are the three policies of AutoAugment, RandAugment,
TrivialAugment, and the two augmentations that a run learns in the middle of its epochs (`dagan` and `learned`). Then
Fast AutoAugment searches a policy on the training images only, with several search seeds. Networks are also trained
with each searched policy, alone and after crop and flip.

    python benchmarks/fast_autoaugment.py --data FOLDER --out results/fast-autoaugment [--seeds 3] [--searches 3]

FOLDER contains ``cifar10.npz``. Finished runs and searches are not repeated, also if only the records and policies in
`--out` are left of them. ``--time-budget`` (seconds) ends a search early and stops between runs; the same command then
continues. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import torch
from reliability import subset

import afield
from afield.augment import Policy
from afield.data import ImageSet, Validation, parts_of
from afield.errors import InputError
from afield.evaluation import estimate, paired_difference
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.recipes import Recipe
from afield.records import read_jsonl, write_json, write_jsonl
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.execute import execute
from afield.runs.run import Run

SIZE = {"images": 2000, "test": 4000, "epochs": 40, "folds": 5, "trials": 40, "top": 5}
QUICK = {"images": 500, "test": 500, "epochs": 2, "folds": 2, "trials": 3, "top": 2}
BASE = "crop_flip"
POLICIES = ("autoaugment_cifar10", "autoaugment_imagenet", "autoaugment_svhn", "randaugment", "trivialaugment")
LEARNED = ("dagan", "learned")


def search(
    images: ImageSet, precision: str, size: dict[str, int], seed: int, saved: Path, work: Path, until: float
) -> Policy | None:
    """Search a policy in the folder ``search-SEED``; None if the time ends before the search is complete.

    A complete policy is written to the file `saved`, and not searched again.
    """
    wanted = size["folds"] * size["trials"]
    if saved.exists() and (policy := Policy.read(saved)).origin["trials"] == wanted:
        return policy
    left = until - time.monotonic()
    if left <= 0:
        return None
    try:
        policy = afield.augment_search(
            data=images.name,
            out=work / f"search-{seed}",
            augment=BASE,
            precision=precision,
            device="cpu",
            epochs=size["epochs"],
            folds=size["folds"],
            searches=1,
            trials=size["trials"],
            top=size["top"],
            seed=seed,
            time_budget=None if left == float("inf") else f"{left}s",
        )
    except InputError:  # the time ended before the first candidate
        if time.monotonic() < until:
            raise
        return None
    if policy.origin["trials"] != wanted:
        return None
    policy.write(saved)
    return policy


def same_images(policy: Policy, saved: Path, images: ImageSet) -> bool:
    """Whether the saved policy draws the same images bit for bit from equal generators."""
    batch = torch.from_numpy(images.images[:512]).permute(0, 3, 1, 2)
    first, second = (p(batch, generator=torch.Generator().manual_seed(0)) for p in (policy, Policy.read(saved)))
    return torch.equal(first, second)


def train(
    setup: ExperimentConfig,
    recipes: dict[str, Recipe],
    seeds: int,
    work: Path,
    until: float,
    known: Mapping[str, dict[str, Any]],
    policy: Policy | None = None,
) -> list[dict[str, Any]]:
    """A line for each run within the time budget, seed by seed; the accuracy is that of the last epoch.

    `known` has the lines of earlier calls by the hash of the run. The search time is that of `policy`, or the time in
    which the run learned its augmentation.
    """
    fabric, lines = make_fabric("cpu", setup.training.precision), []
    for seed, (name, recipe) in product(range(seeds), recipes.items()):
        run = Run(setup, recipe, tuple(parts_of(setup.data)), seed)
        if line := known.get(run.hash):
            lines.append(line)
            continue
        if time.monotonic() > until:
            break
        record = execute(run, work / "runs" / run.hash, fabric)
        accuracy = next(iter(record.epochs[-1].test.values()))["accuracy"]
        line = {"augment": name, "seed": seed, "accuracy": accuracy, "train_loss": record.epochs[-1].train_loss}
        line["search_s"] = record.learned.search_s if record.learned else 0.0
        if policy:
            line |= {"search": policy.origin["search"]["seed"], "search_s": policy.origin["seconds"]["all"]}
        if record.learned:
            line |= {"collapses": record.learned.collapses, "settings": record.learned.settings}
        kept = ("run", "config", "split_hash", "duration_s", "versions", "hardware", "commit")
        lines.append(line | {key: getattr(record, key) for key in kept})
        print(f"{name} seed {seed}: {100 * accuracy:.2f} %, {record.duration_s:.0f} s", flush=True)
    return lines


def summarize(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accuracy of each augmentation over seeds, paired differences to none and to crop and flip, and search time."""
    groups: dict[tuple[str, int | None], dict[int, dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["augment"], line.get("search")), {})[line["seed"]] = line
    rows = []
    for (name, number), group in groups.items():
        row: dict[str, Any] = {"augment": name} | ({} if number is None else {"search": number})
        row["accuracy"] = estimate([line["accuracy"] for line in group.values()]).as_dict()
        row["over"] = {}
        for other in () if name == "none" else ("none", BASE):
            plain = groups.get((other, None), {})
            if other != name and (seeds := sorted(group.keys() & plain.keys())):
                pairs = [[each[seed]["accuracy"] for seed in seeds] for each in (group, plain)]
                row["over"][other] = paired_difference(*pairs).as_dict()
        row["search_s"] = sum(line["search_s"] for line in group.values()) / len(group)
        rows.append(row)
    return rows


def over_searches(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The gain of the searched policies, alone and after crop and flip, with the search seed as the random draw.

    The gain of a search seed is the mean over the seeds of training.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if "search" in row:
            found.setdefault(row["augment"], []).append(row)
    return [
        {
            "augment": name,
            "gains": {row["search"]: {other: gain["mean"] for other, gain in row["over"].items()} for row in group},
            "over": {
                other: estimate([row["over"][other]["mean"] for row in group]).as_dict() for other in group[0]["over"]
            },
        }
        for name, group in found.items()
    ]


def main() -> None:
    """Search, train, write the records, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/fast-autoaugment"), help="folder for search, runs, subset"
    )
    parser.add_argument("--seeds", type=int, default=3, help="number of training seeds")
    parser.add_argument("--searches", type=int, default=3, help="number of search seeds")
    parser.add_argument("--rivals", nargs="*", choices=(*POLICIES, *LEARNED), default=(*POLICIES, *LEARNED))
    parser.add_argument("--time-budget", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    until, size = time.monotonic() + args.time_budget, QUICK if args.quick else SIZE
    images = subset(args.data / "cifar10.npz", size["images"], size["test"], 32, args.work)
    precision = "32" if args.quick else "bf16"  # CPUs can be slow in bf16
    training = choose_training("scratch", epochs=size["epochs"], augment=BASE, precision=precision)
    setup = ExperimentConfig(images, BackboneConfig("resnet8"), False, Validation(), training)
    recipes = {name: Recipe("erm", augment=name) for name in ("none", BASE)}
    for name in args.rivals:
        options = {"epochs": 1} if args.quick and name in LEARNED else {}
        recipes[f"{BASE} + {name}"] = Recipe("erm", augment=f"{BASE}+{name}", augment_options=options)
    records = args.out / "records.jsonl"
    known = {line["run"]: line for line in read_jsonl(records)} if records.exists() else {}
    lines, policies = train(setup, recipes, args.seeds, args.work, until, known), dict[int, Policy]()
    for number in range(args.searches):
        saved = policy_file(args.out, number)
        policy = search(images, precision, size, number, saved, args.work, until)
        if policy is None:
            break
        policies[number] = policy
        chains = {"found": str(saved), f"{BASE} + found": f"{BASE}+{saved}"}
        recipes = {name: Recipe("erm", augment=chain) for name, chain in chains.items()}
        lines += train(setup, recipes, args.seeds, args.work, until, known, policy)
    if not lines:
        parser.exit(2, "--time-budget ended before the first run; the same command goes on\n")
    write_jsonl(records, lines)
    rows = summarize(lines)
    searches, digests = over_searches(rows), {number: policy.digest for number, policy in policies.items()}
    write_json(args.out / "summary.json", {"policies": digests, "size": size, "rows": rows, "searches": searches})
    print(f"{'augmentation':36}{'n':>3}{'accuracy, %':>13}{'sd':>6}  {'95 %':16}{'search, s':>9}  difference, 95 %")
    for row in rows:
        value = row["accuracy"]
        line = f"{label(row):36}{value['n']:3}{100 * value['mean']:13.2f}{100 * (value['sd'] or 0):6.2f}"
        print(f"{line}  {span(value):16}{row['search_s']:9.0f}  {gains(row)}")
    for row in searches:
        print(f"{row['augment']}, over {len(row['gains'])} searches: {gains(row)}")
    found = {label(row): row["accuracy"]["mean"] for row in rows}
    result = {f"{name}_over_none": round(value / found["none"], 4) for name, value in found.items() if name != "none"}
    result["search_s"] = {number: policy.origin["seconds"]["all"] for number, policy in policies.items()}
    result["same_images"] = {n: same_images(policy, policy_file(args.out, n), images) for n, policy in policies.items()}
    print(json.dumps({"benchmark": "fast_autoaugment", **result}))


def policy_file(out: Path, seed: int) -> Path:
    """The file of the policy of a search seed."""
    return out / f"policy-{seed}.json"


def label(row: dict[str, Any]) -> str:
    """The name of a row, with its search seed."""
    return f"{row['augment']}, search {row['search']}" if "search" in row else str(row["augment"])


def gains(row: dict[str, Any]) -> str:
    """The differences of a row in percentage points."""
    return "; ".join(f"{100 * gain['mean']:+.2f} {span(gain)} compared with {o}" for o, gain in row["over"].items())


def span(value: dict[str, Any]) -> str:
    """An interval in percentage points."""
    return "" if value["ci95"] is None else f"[{100 * value['ci95'][0]:+.2f}, {100 * value['ci95'][1]:+.2f}]"


if __name__ == "__main__":
    main()
