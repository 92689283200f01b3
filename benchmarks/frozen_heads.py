"""Which head and losses suit frozen features, alone and combined? PACS, a frozen EfficientNet-Lite0.

A family is a method with a few settings (scale, weight, dropout). For each unseen domain, the setting of a family is
the one with the highest accuracy on the other domains, in runs that hold out two domains: the unseen one, and the one
that is measured. No image of the unseen domain takes part in the choice. The chosen settings are then trained with
fresh seeds on all other domains and tested on the unseen domain.

    python benchmarks/frozen_heads.py --data FOLDER --out results/frozen-heads [--quick]

FOLDER contains ``pacs/``. Finished runs are not repeated; ``--time-budget`` (seconds) stops between runs, and the same
command then continues. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from afield.data import parts_of
from afield.evaluation import SELECTIONS, difference_at_new_place, estimate, paired_difference
from afield.launch.fabric import make_fabric
from afield.launch.local import Executor
from afield.recipes import Recipe
from afield.records import Record, write_json, write_jsonl
from afield.reproduction.place import Place
from afield.runs.config import ExperimentConfig
from afield.runs.run import Run

CHOICE_SEED, FRESH_SEEDS = 100, 5
SINGLE = ("cross-entropy", "flattening", "cosine", "margin", "cross-entropy + margin")
"""The families without a combination of the papers' ideas; cross-entropy and margin share their class vectors."""
BOTH = {"linear_losses": {"cross_entropy": 1.0}}
"""Cross-entropy on the class vectors of a margin head, used as a linear layer."""


def flattened(weight: float) -> dict[str, Any]:
    """Cross-entropy plus `weight` times complement flattening."""
    return {"losses": {"cross_entropy": 1.0, "complement_flattening": weight}}


def scaled(head: str, scale: float | str, **fields: Any) -> dict[str, Any]:
    """A head on the unit sphere with this scale."""
    return {"head": head, "head_options": {"scale": scale}, **fields}


def families() -> dict[str, list[dict[str, Any]]]:
    """The settings of each family, as fields of its recipe."""
    scales, flat = (16.0, 32.0, 64.0), flattened(0.5)
    return {
        "cross-entropy": [{}],
        "flattening": [flat],
        "cosine": [scaled("cosine", scale) for scale in ("auto", *scales)],
        "cosine + flattening": [scaled("cosine", scale, **flat) for scale in scales],
        "margin": [scaled("arcface", scale) for scale in scales],
        "margin + flattening": [scaled("arcface", scale, **flat) for scale in scales],
        "cross-entropy + margin": [scaled("arcface", 16.0, **BOTH)],
        "cross-entropy + margin + flattening": [scaled("arcface", 16.0, **BOTH, **flat)],
        "margin, default scale": [scaled("arcface", "auto")],
        "margin, default scale, neck": [scaled("arcface", "auto", neck=True)],
        "dropout": [{"training": {"dropout": value}} for value in (0.0, 0.5)],
        "weight decay": [{"training": {"weight_decay": value}} for value in (0.0, 5e-3)],
    }


def accuracy_on(record: Record, part: str) -> float:
    """The accuracy on an unseen domain at the epoch with the best validation accuracy."""
    return record.epochs[SELECTIONS["train_validation"](record, (), "accuracy")].test[part]["accuracy"]


def choices(
    setup: ExperimentConfig, executor: Executor, names: Sequence[str], until: float
) -> Iterator[dict[str, Any]]:
    """For each family and unseen domain, the accuracy of each setting on the other domains, and the best setting."""
    domains = parts_of(setup.data)
    for name, settings in ((name, families()[name]) for name in names):
        found: dict[str, list[float]] = {domain: [] for domain in domains}
        for options in settings:
            scores: dict[str, list[float]] = {domain: [] for domain in domains}
            for pair in combinations(domains, 2) if len(settings) > 1 else ():
                if time.monotonic() > until:
                    return
                record = executor.execute(Run(setup, Recipe(name, **options), pair, CHOICE_SEED))
                for unseen, measured in (pair, pair[::-1]):
                    scores[unseen].append(accuracy_on(record, measured))
            for domain in domains:
                found[domain].append(sum(scores[domain]) / max(1, len(scores[domain])))
        for domain in domains:
            best = max(range(len(settings)), key=found[domain].__getitem__)
            tried = {"settings": settings, "accuracies": found[domain]} if len(settings) > 1 else {}
            yield {"family": name, "domain": domain, "options": settings[best], **tried}
        print(f"{name}: {[round(100 * sum(v) / 4, 1) for v in zip(*found.values(), strict=True)]}", flush=True)


def confirmed(
    setup: ExperimentConfig, executor: Executor, chosen: list[dict[str, Any]], seeds: int, until: float
) -> Iterator[dict[str, Any]]:
    """The accuracy of each chosen setting on its unseen domain with fresh seeds."""
    for seed in range(seeds):
        for choice in chosen:
            if time.monotonic() > until:
                return
            domain, options = choice["domain"], choice["options"]
            record = executor.execute(Run(setup, Recipe(choice["family"], **options), (domain,), seed))
            yield {
                "family": choice["family"],
                "domain": domain,
                "seed": seed,
                "options": options,
                "accuracy": accuracy_on(record, domain),
                **{key: getattr(record, key) for key in ("split_hash", "duration_s", "commit", "versions", "hardware")},
            }


def summarize(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The average over domains of each family, and differences to each single family, on these domains and elsewhere.

    The intervals have a level of 95 % and are not adjusted for the number of families.
    """
    value = {(line["family"], line["domain"], line["seed"]): line["accuracy"] for line in lines}
    domains, names = (list(dict.fromkeys(line[key] for line in lines)) for key in ("domain", "family"))
    seeds = [
        seed
        for seed in dict.fromkeys(line["seed"] for line in lines)
        if all((name, domain, seed) in value for name in names for domain in domains)
    ]
    by_domain = {name: [[value[name, domain, seed] for seed in seeds] for domain in domains] for name in names}
    average = {name: [sum(row) / len(domains) for row in zip(*found, strict=True)] for name, found in by_domain.items()}
    rows = []
    for name in names:
        row: dict[str, Any] = {"family": name, "accuracy": estimate(average[name]).as_dict()}
        row["domains"] = {d: estimate(found).as_dict() for d, found in zip(domains, by_domain[name], strict=True)}
        row["options"] = {line["domain"]: line["options"] for line in lines if line["family"] == name}
        for rival in SINGLE:
            if rival != name and rival in names:
                row[f"vs {rival}"] = paired_difference(average[name], average[rival]).as_dict()
                row[f"new place vs {rival}"] = difference_at_new_place(by_domain[name], by_domain[rival]).as_dict()
        rows.append(row)
    return rows


def main() -> None:
    """Run, write the records, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with pacs/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/frozen-heads"))
    parser.add_argument("--families", nargs="+", choices=families(), default=[*families()])
    parser.add_argument("--seeds", type=int, default=FRESH_SEEDS, help="number of fresh seeds")
    parser.add_argument("--time-budget", type=float, default=float("inf"), help="seconds")
    parser.add_argument("--quick", action="store_true", help="the embedded digits, an epoch, one seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    setup = Place("smoke" if args.quick else "small", args.data).frozen_pacs()
    executor = Executor(args.work, partial(make_fabric, "auto"), threads=1)
    until = time.monotonic() + args.time_budget
    chosen = list(choices(setup, executor, args.families, until))
    lines = list(confirmed(setup, executor, chosen, 1 if args.quick else args.seeds, until))
    write_jsonl(args.out / "choices.jsonl", chosen)
    write_jsonl(args.out / "records.jsonl", lines)
    rows = summarize(lines)
    write_json(args.out / "summary.json", {"rows": rows})
    print(f"{'family':38}{'n':>3}{'accuracy':>10}{'vs CE':>8}  interval")
    for row in rows:
        gain = row.get("vs cross-entropy", {"mean": 0.0, "ci95": None})
        low, high = gain["ci95"] or (0.0, 0.0)
        found = (
            f"{100 * row['accuracy']['mean']:10.1f}{100 * gain['mean']:+8.1f}  [{100 * low:+.1f}, {100 * high:+.1f}]"
        )
        print(f"{row['family']:38}{row['accuracy']['n']:3}{found}")
    print(json.dumps({"benchmark": "frozen_heads", "accuracy": {r["family"]: r["accuracy"]["mean"] for r in rows}}))


if __name__ == "__main__":
    main()
