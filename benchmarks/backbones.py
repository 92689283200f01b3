"""Do LogME and the H-score order backbones as their accuracy on unseen domains does?

    python benchmarks/backbones.py --data PACS --out results/backbones [--per-domain 500] [--image-size 128] [--quick]

Each domain in turn is the new place. The scores of a backbone are those of its features on the other domains; they need
no training. The truth is the accuracy on the new place of a linear head on the same features, trained on the other
domains. The rank correlations are over backbones: for each new place, and for the averages over places. A random part
of each domain and small images keep the extraction short. Finished runs and features are kept, and the same command
continues. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from afield.comparison.grid import Comparison
from afield.comparison.summary import select
from afield.data import Validation, load, parts_of
from afield.evaluation import estimate
from afield.evaluation.transferability import h_score, log_me
from afield.launch.fabric import make_fabric
from afield.launch.local import Executor, run_here
from afield.models import BackboneConfig
from afield.models.weights import PACKAGES
from afield.recipes import resolve
from afield.records import read_json, seed_for, write_json
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.features import stored_features
from afield.runs.provenance import provenance

UNTRAINED = ("tf_efficientnet_lite0", "resnet18", "mobilenetv3_small_100", "resnet8_ibn")
SCORES = {"log_me": log_me, "h_score": h_score}


def table_of(folder: Path, per_domain: int, file: Path) -> Path:
    """Write a table with random images of each domain of a folder domain/class/image; returns its path."""
    rows = []
    for domain in sorted(path for path in folder.iterdir() if path.is_dir()):
        images = sorted(path for path in domain.glob("*/*") if path.is_file())
        order = np.random.default_rng(seed_for("backbones", domain.name)).permutation(len(images))[:per_domain]
        chosen = (images[i].relative_to(folder) for i in np.sort(order))
        rows += [(path.as_posix(), path.parts[1], path.parts[0]) for path in chosen]
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", newline="") as opened:
        csv.writer(opened).writerows([("path", "label", "domain"), *rows])
    return file


def scores_of(setup: ExperimentConfig) -> dict[str, dict[str, float]]:
    """The scores of a backbone by new place, from the features of the other domains."""
    features, data = stored_features(setup, "none", make_fabric("cpu", "32")), setup.data
    assert features is not None
    found = {}
    for index, domain in enumerate(data.domain_names):
        others = data.domains != index
        found[domain] = {
            name: score(np.asarray(features)[others], data.labels[others]) for name, score in SCORES.items()
        }
    return found


def rank_correlations(rows: Mapping[str, Mapping[str, Any]], domains: Sequence[str]) -> dict[str, dict[str, float]]:
    """Spearman's rank correlation over backbones between each score and the accuracy, by new place and on average."""

    def correlation(score: str, places: Sequence[str]) -> float:
        first = [np.mean([row["scores"][place][score] for place in places]) for row in rows.values()]
        second = [np.mean([row["accuracy"][place]["mean"] for place in places]) for row in rows.values()]
        return float(stats.spearmanr(first, second).statistic)

    return {
        score: {**{place: correlation(score, [place]) for place in domains}, "average": correlation(score, domains)}
        for score in SCORES
    }


def main() -> None:
    """Train, measure, write the summary, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="a folder with domain/class/image")
    parser.add_argument("--per-domain", type=int, default=500, help="number of images of each domain")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/backbones"), help="folder of the summary")
    parser.add_argument("--work", type=Path, default=Path("runs/backbones-work"), help="folder of the runs")
    parser.add_argument("--quick", action="store_true", help="one seed, and the small untrained backbones only")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pretrained = {} if args.quick else {name: weights for weights, name in PACKAGES.items()}
    chosen = [(f"{name}, pretrained", BackboneConfig(name, weights=weights)) for name, weights in pretrained.items()]
    untrained = UNTRAINED[-2:] if args.quick else UNTRAINED
    chosen += [(f"{name}, random", BackboneConfig(name)) for name in untrained]
    table = table_of(args.data, args.per_domain, args.work / "images.csv")
    data = load(str(table), root=args.data, image_size=args.image_size)
    setups = {
        label: ExperimentConfig(data, backbone, True, Validation(), choose_training("frozen"))
        for label, backbone in chosen
    }
    first, domains = next(iter(setups.values())), parts_of(data)
    comparison = Comparison(first, resolve(["erm"]), 1 if args.quick else args.seeds, setups=setups)
    executor = Executor(args.work, partial(make_fabric, "cpu"), threads=1)
    records = [record for _, record in run_here(comparison.runs(), executor)]
    selected = select(records, "train_validation")
    rows: dict[str, Any] = {}
    for label, setup in setups.items():
        file = args.work / f"scores-{label}.json"
        if not file.exists():
            write_json(file, scores_of(setup))
        accuracies = {
            domain: [
                record.test[domain]["accuracy"]
                for record in selected
                if record.recipe == f"erm@{label}" and record.unseen == domain and record.test is not None
            ]
            for domain in domains
        }
        rows[label] = {
            "accuracy": {domain: estimate(values).as_dict() for domain, values in accuracies.items()},
            "average": estimate([float(np.mean(each)) for each in zip(*accuracies.values(), strict=True)]).as_dict(),
            "scores": read_json(file),
        }
        print(f"{label}: {100 * rows[label]['average']['mean']:.1f} %", flush=True)
    summary = {
        "benchmark": "backbones",
        "data": args.data.name,
        "images": len(data),
        "image_size": args.image_size,
        "seeds": comparison.seeds,
        "backbones": rows,
        "rank_correlation": rank_correlations(rows, domains),
        "rank_correlation_pretrained": None
        if args.quick
        else rank_correlations({label: row for label, row in rows.items() if "pretrained" in label}, domains),
    }
    write_json(args.out / "summary.json", summary | provenance())
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
