"""Small networks trained from random weights: which holds up in domains not seen in training?

    python benchmarks/small_backbones.py --out results/small-backbones [--data digits] [--seeds 5] [--quick]

`afield compare` with one recipe and each backbone: every domain in turn is unseen. With --corrupted, the networks train
on images of CIFAR-10, and the unseen domains are test images and four corruptions of them. Differences to the first
backbone are paired by seed; all backbones have the same splits and training settings. Runs are kept under OUT/work/,
and the same command goes on. The last line is one JSON object.
"""

import argparse
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import afield
from afield.comparison.grid import Comparison
from afield.data import ImageSet
from afield.evaluation import SELECTIONS, estimate, paired_difference
from afield.launch.fabric import make_fabric
from afield.launch.local import Executor, run_here
from afield.models import BackboneConfig
from afield.recipes import resolve
from afield.records import Record, read_records, write_json
from afield.reproduction.corruptions import CORRUPTIONS, TEST, with_corruptions
from afield.reproduction.place import Place
from afield.runs.provenance import provenance

BACKBONES = ("resnet8", "resnet8_group", "resnet8_instance", "resnet8_ibn", "lenet")


def accuracies(records: list[Record], part: str) -> dict[str, list[float]]:
    """Accuracies by seed in each unseen domain and on average, at the selected epoch: of the part, or validation."""
    found: dict[str, list[float]] = {}
    for record in sorted(records, key=lambda each: each.seed):
        epoch = record.epochs[SELECTIONS["train_validation"](record, (), "accuracy")]
        for domain in record.held_out:
            of = epoch.test[domain] if part == "unseen" else epoch.validation
            found.setdefault(domain, []).append(float(of["accuracy"]))
    return {**found, "average": [sum(each) / len(each) for each in zip(*found.values(), strict=True)]}


def corrupted(
    place: Place, data: ImageSet, recipe: str, backbone: str, seeds: int, out: Path, **settings: Any
) -> list[Record]:
    """Train on images of CIFAR-10, for ten epochs by default, and test on others and on corruptions of these."""
    settings = {"precision": "32", "epochs": 10, **settings}
    setup = place.from_scratch(
        data, BackboneConfig(backbone), batch_size=128, warmup=0.2, augment="crop_flip", **settings
    )
    runs = Comparison(setup, resolve([recipe]), seeds, held_out=((TEST, *CORRUPTIONS),)).runs()
    return [record for _, record in run_here(runs, Executor(out, partial(make_fabric, "cpu"), threads=1))]


def main() -> None:
    """Compare, write the record, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the record and the runs")
    parser.add_argument("--data", default="digits", help="a data set's name or a folder with domain/class/image")
    parser.add_argument("--corrupted", type=Path, help="folder with cifar10.npz, in place of --data")
    parser.add_argument("--recipe", default="erm")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES, help="the first one is the baseline")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--precision", choices=("32", "bf16"))
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two backbones, one epoch, three seeds")
    args = parser.parse_args()
    if args.corrupted and args.image_size:
        parser.error("--image-size does not apply to --corrupted")
    if args.quick:
        args.backbones, args.epochs, args.seeds = ["resnet8", "lenet"], 1, 3
    given = {"image_size": args.image_size, "epochs": args.epochs, "precision": args.precision}
    given = {name: value for name, value in given.items() if value is not None}
    rows: dict[str, Any] = {}
    values: dict[str, dict[str, list[float]]] = {}
    if args.corrupted:
        place = Place("small", args.corrupted)
        images = with_corruptions(place.cifar("cifar10").subset(*((100, 20) if args.quick else (4000, 1000))))
    for name in args.backbones:
        out = args.out / "work" / name
        if args.corrupted:
            records = corrupted(place, images, args.recipe, name, args.seeds, out, **given)
        else:
            shared = {"data": args.data, "recipes": (args.recipe,), "seeds": args.seeds, **given}
            afield.compare(backbone=name, out=str(out), **shared)
            records = read_records(out)
        values[name] = accuracies(records, "unseen")
        rows[name] = {
            "unseen": {domain: asdict(estimate(found)) for domain, found in values[name].items()},
            "validation": asdict(estimate(accuracies(records, "validation")["average"])),
            "vs_first": asdict(paired_difference(values[name]["average"], values[args.backbones[0]]["average"])),
        }
        print(f"{name:17} {100 * rows[name]['unseen']['average']['mean']:.1f}", flush=True)
    data = "cifar10, corrupted" if args.corrupted else args.data
    about = {"benchmark": "small_backbones", "data": data, "recipe": args.recipe, "seeds": args.seeds, **given}
    result = {**about, "rows": rows, **provenance()}
    write_json(args.out / "summary.json", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
