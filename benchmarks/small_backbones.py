"""Small networks trained from random weights: which holds up in domains not seen in training?

    python benchmarks/small_backbones.py --out results/small-backbones [--data digits] [--seeds 5] [--quick]

`afield compare` with one recipe and each backbone: every domain in turn is unseen. Differences to the first backbone
are paired by seed; all backbones have the same splits and training settings. Runs are kept under OUT/work/, and the
same command goes on. The last line is one JSON object.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import afield
from afield.evaluation import estimate, paired_difference
from afield.records import Record, read_records, write_json
from afield.runs.provenance import provenance

BACKBONES = ("resnet8", "resnet8_group", "resnet8_instance", "resnet8_ibn", "lenet")


def accuracies(records: list[Record], part: str) -> dict[str, list[float]]:
    """Accuracies by seed in each unseen domain and on average, at the selected epoch: of the part, or validation."""
    found: dict[str, list[float]] = {}
    for record in sorted(records, key=lambda each: each.seed):
        assert record.selection is not None
        epoch = record.epochs[record.selection.epoch - 1]
        of = epoch.test[record.unseen] if part == "unseen" else epoch.validation
        found.setdefault(record.unseen, []).append(float(of["accuracy"]))
    return {**found, "average": [sum(each) / len(each) for each in zip(*found.values(), strict=True)]}


def main() -> None:
    """Compare, write the record, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the record and the runs")
    parser.add_argument("--data", default="digits", help="a data set's name or a folder with domain/class/image")
    parser.add_argument("--recipe", default="erm")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, help="the first one is the baseline")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--precision", choices=("32", "bf16"))
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two backbones, one epoch, three seeds")
    args = parser.parse_args()
    if args.quick:
        args.backbones, args.epochs, args.seeds = ["resnet8", "lenet"], 1, 3
    given = {"image_size": args.image_size, "epochs": args.epochs, "precision": args.precision}
    given = {name: value for name, value in given.items() if value is not None}
    rows: dict[str, Any] = {}
    values: dict[str, dict[str, list[float]]] = {}
    for name in args.backbones:
        out = args.out / "work" / name
        afield.compare(data=args.data, recipes=(args.recipe,), seeds=args.seeds, backbone=name, out=str(out), **given)
        records = read_records(out)
        values[name] = accuracies(records, "unseen")
        rows[name] = {
            "unseen": {domain: asdict(estimate(found)) for domain, found in values[name].items()},
            "validation": asdict(estimate(accuracies(records, "validation")["average"])),
            "vs_first": asdict(paired_difference(values[name]["average"], values[args.backbones[0]]["average"])),
        }
        print(f"{name:17} {100 * rows[name]['unseen']['average']['mean']:.1f}", flush=True)
    about = {"benchmark": "small_backbones", "data": args.data, "recipe": args.recipe, "seeds": args.seeds, **given}
    result = {**about, "rows": rows, **provenance()}
    write_json(args.out / "summary.json", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
