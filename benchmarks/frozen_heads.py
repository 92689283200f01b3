"""Does a cosine head suit frozen features, with a fitting scale and with flattening? PACS, a frozen EfficientNet-Lite0.

For each unseen domain, the scale of a head is the one with the highest accuracy on the other domains, in runs that hold
out two domains: the unseen one, and the one that is measured. No image of the unseen domain takes part in the choice.
The chosen scale is then trained with fresh seeds on all other domains and tested on the unseen domain. The rivals are
the recipes of ``afield reproduce combined``, which have the same setup, seeds and splits.

    python benchmarks/frozen_heads.py --data FOLDER --out results/frozen-heads --rivals results/reproduce-combined

FOLDER contains ``pacs/``. Finished runs are not repeated. ``--quick`` uses the embedded digits, and has no rivals. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import torch

from afield.data import parts_of
from afield.evaluation import SELECTIONS, difference_at_new_place, estimate, paired_difference
from afield.launch.fabric import make_fabric
from afield.launch.local import Executor
from afield.recipes import Recipe
from afield.records import Record, read_records, write_json, write_jsonl
from afield.reproduction.place import Place
from afield.runs.config import ExperimentConfig
from afield.runs.run import Run

CHOICE_SEED, FRESH_SEEDS = 100, 5
STUDY = "PACS, frozen"
RIVALS = {
    "erm": "cross-entropy",
    "flattening": "flattening",
    "margin": "margin, scale auto",
    "flattening + margin": "margin + flattening, scale auto",
}
"""Recipes of the combined papers, with the names of this study."""
SCALES = ("auto", 16.0, 32.0, 64.0)
FLATTENED = {"cross_entropy": 1.0, "complement_flattening": 0.5}
FAMILIES = {
    "cosine": [Recipe("cosine", "cosine", {"scale": scale}) for scale in SCALES],
    "cosine + flattening": [
        Recipe("cosine + flattening", "cosine", {"scale": scale}, FLATTENED) for scale in SCALES[1:]
    ],
}
"""The recipes to choose from. They have the name of their family."""


def accuracy_on(record: Record, part: str) -> float:
    """The accuracy on an unseen domain at the epoch with the best validation accuracy."""
    return record.epochs[SELECTIONS["train_validation"](record, (), "accuracy")].test[part]["accuracy"]


def choices(setup: ExperimentConfig, executor: Executor) -> Iterator[tuple[dict[str, Any], Recipe]]:
    """For each family and unseen domain: the accuracy of each scale on the other domains, and the chosen recipe."""
    domains = parts_of(setup.data)
    for name, recipes in FAMILIES.items():
        scores: dict[str, list[float]] = {domain: [0.0] * len(recipes) for domain in domains}
        for (i, recipe), pair in product(enumerate(recipes), combinations(domains, 2)):
            record = executor.execute(Run(setup, recipe, pair, CHOICE_SEED))
            for unseen, measured in (pair, pair[::-1]):
                scores[unseen][i] += accuracy_on(record, measured) / (len(domains) - 1)
        for domain, found in scores.items():
            best = recipes[max(range(len(recipes)), key=found.__getitem__)]
            by_scale = {str(recipe.head_options["scale"]): score for recipe, score in zip(recipes, found, strict=True)}
            yield {"family": name, "domain": domain, "accuracies": by_scale}, best


def confirmed(
    setup: ExperimentConfig, executor: Executor, chosen: Sequence[tuple[dict[str, Any], Recipe]], seeds: int
) -> Iterator[dict[str, Any]]:
    """The accuracy of each chosen recipe on its unseen domain with fresh seeds."""
    for seed, (choice, recipe) in product(range(seeds), chosen):
        record = executor.execute(Run(setup, recipe, (choice["domain"],), seed))
        yield {
            **{key: choice[key] for key in ("family", "domain")},
            "seed": seed,
            "scale": recipe.head_options["scale"],
            "accuracy": accuracy_on(record, choice["domain"]),
            **{key: getattr(record, key) for key in ("split_hash", "duration_s", "commit", "versions", "hardware")},
        }


def rivals(folder: Path) -> Iterator[dict[str, Any]]:
    """The accuracies of the rivals by domain and seed."""
    for record in read_records(folder):
        if record.study == STUDY and record.recipe in RIVALS and record.test:
            for domain, found in record.test.items():
                line = {"family": RIVALS[record.recipe], "domain": domain, "seed": record.seed}
                yield line | {"accuracy": found["accuracy"], "split_hash": record.split_hash}


def summarize(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The average over domains of each family, and differences to each other family, on these domains and elsewhere.

    Seeds that a family lacks are left out. The intervals have a level of 95 % and are not adjusted.
    """
    value = {(line["family"], line["domain"], line["seed"]): line["accuracy"] for line in lines}
    scale = {(line["family"], line["domain"]): line["scale"] for line in lines if "scale" in line}
    domains, names = (list(dict.fromkeys(line[key] for line in lines)) for key in ("domain", "family"))
    seeds = [
        s
        for s in dict.fromkeys(line["seed"] for line in lines)
        if all((*k, s) in value for k in product(names, domains))
    ]
    found = {name: [[value[name, domain, seed] for seed in seeds] for domain in domains] for name in names}
    average = {name: [sum(row) / len(domains) for row in zip(*found[name], strict=True)] for name in names}
    rows = []
    for name in names:
        others = [rival for rival in names if rival != name]
        row: dict[str, Any] = {"family": name, "accuracy": estimate(average[name]).as_dict()}
        row["scales"] = [scale[name, domain] for domain in domains if (name, domain) in scale]
        row["vs"] = {rival: paired_difference(average[name], average[rival]).as_dict() for rival in others}
        row["at_new_place"] = {rival: difference_at_new_place(found[name], found[rival]).as_dict() for rival in others}
        rows.append(row)
    return rows


def main() -> None:
    """Run, write the records, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with pacs/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rivals", type=Path, help="folder of `afield reproduce combined --size small`")
    parser.add_argument("--work", type=Path, default=Path("runs/frozen-heads"))
    parser.add_argument("--seeds", type=int, default=FRESH_SEEDS, help="number of fresh seeds")
    parser.add_argument("--quick", action="store_true", help="the embedded digits, an epoch, one seed")
    args = parser.parse_args()
    torch.set_num_threads(1)
    setup = Place("smoke" if args.quick else "small", args.data).frozen_pacs()
    executor = Executor(args.work, partial(make_fabric, "auto"), threads=1)
    chosen = list(choices(setup, executor))
    lines = list(confirmed(setup, executor, chosen, 1 if args.quick else args.seeds))
    write_jsonl(args.out / "choices.jsonl", [choice for choice, _ in chosen])
    write_jsonl(args.out / "records.jsonl", lines)
    rows = summarize([*(rivals(args.rivals) if args.rivals else ()), *lines])
    write_json(args.out / "summary.json", {"rows": rows})
    for row in rows:
        against = ", ".join(f"{100 * gain['mean']:+.1f} vs {rival}" for rival, gain in row["vs"].items())
        print(f"{row['family']:34}{100 * row['accuracy']['mean']:5.1f} (n = {row['accuracy']['n']})  {against}")
    print(json.dumps({"benchmark": "frozen_heads", "accuracy": {r["family"]: r["accuracy"]["mean"] for r in rows}}))


if __name__ == "__main__":
    main()
