"""Which images to label at a new place: strategies compared by accuracy after few labels, on frozen features.

    python benchmarks/labeling.py --data PACS --out results/labeling [--repetitions 50] [--jobs 2] [--quick]

Each domain in turn is the new place; a head trained on the others starts there. A repetition splits the place into
halves: labels are chosen in one half, in rounds up to each budget, and the head is refitted after each round; accuracy
is that on the other half. All strategies of a repetition have the same halves, the same first head, and the trust that
`--trust` gives (by default that of `afield.labeling.refit`; 0 chooses it by cross-validation, which takes longer).
Differences to random are paired by repetition. Finished repetitions are not repeated. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from afield.data import Validation, load
from afield.evaluation import Estimate, estimate, paired_difference
from afield.heads import LinearHead
from afield.labeling import STRATEGIES, Pool, select
from afield.labeling.bald import dropout_draws
from afield.labeling.refit import DEFAULT_TRUST, Labeled, choose_trust, refit
from afield.labeling.select import DEFAULT_STRATEGY
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.objective import Objective
from afield.records import exclusive, read_jsonl, seed_for, write_atomic, write_json, write_jsonl
from afield.reporting.plots import curves_with_intervals, standalone
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.features import frozen_features
from afield.runs.provenance import provenance

BUDGETS = (7, 14, 28, 50, 105, 200)
LEFT_OUT = {"learning_loss", "structured"}
"""They need a trained module, or sequences."""
STRATEGY_NAMES = [name for name in STRATEGIES.names if name not in LEFT_OUT]
SOURCE_IMAGES = 50
"""Of each class and training domain; the first head is trained on them."""


@dataclass(frozen=True)
class Study:
    """Features and labels of all images, and how strategies are compared."""

    features: torch.Tensor
    labels: torch.Tensor
    domains: torch.Tensor
    domain_names: tuple[str, ...]
    budgets: tuple[int, ...]
    trust: float

    @property
    def settings(self) -> dict[str, Any]:
        """What decides a record beside strategy, domain and repetition."""
        return {"budgets": list(self.budgets), "trust": self.trust}

    def part(self, rows: torch.Tensor) -> Labeled:
        """The images at these indices."""
        return Labeled(self.features[rows], self.labels[rows])

    def halves(self, domain: int, repetition: int) -> tuple[Labeled, Labeled]:
        """The half of a domain that is labeled, and the half that accuracy is measured on."""
        rows = (self.domains == domain).nonzero().squeeze(1)
        rows = rows[torch.randperm(len(rows), generator=_generator("halves", domain, repetition))]
        return self.part(rows[: len(rows) // 2]), self.part(rows[len(rows) // 2 :])

    def first_head(self, domain: int, repetition: int) -> Objective:
        """A head trained on some images of the other domains."""
        generator, parts = _generator("sources", domain, repetition), []
        for other, label in itertools.product(self.domains.unique().tolist(), self.labels.unique().tolist()):
            rows = ((self.domains == other) & (self.labels == label)).nonzero().squeeze(1)
            if other != domain:
                parts.append(rows[torch.randperm(len(rows), generator=generator)[:SOURCE_IMAGES]])
        source = self.part(torch.cat(parts))
        objective = Objective(LinearHead(self.features.shape[1], int(self.labels.max()) + 1), {"cross_entropy": 1.0})
        for weight in objective.head.parameters():
            torch.nn.init.zeros_(weight)
        return refit(objective, source, trust=0.05 * len(source))


def repeat(study: Study, strategy: str, domain: int, repetition: int) -> dict[str, Any]:
    """The record of one strategy: accuracy without labels and at each budget."""
    start = time.perf_counter()
    pool, test = study.halves(domain, repetition)
    first = head = study.first_head(domain, repetition)
    chosen = torch.zeros(0, dtype=torch.int64)
    accuracies = {"0": accuracy(head, test)}
    for budget in study.budgets:
        labeled = torch.zeros(len(pool), dtype=torch.bool)
        labeled[chosen] = True
        draws = dropout_draws(head, pool.features) if strategy == "bald" else None
        images = Pool(pool.features, head.logits(pool.features), labeled, draws=draws)
        found = select(images, budget - len(chosen), strategy, seed=seed_for("choice", domain, repetition) % 2**31)
        chosen = torch.cat([chosen, found])
        target = pool.part(chosen)
        head = refit(first, target, trust=study.trust or choose_trust(first, target))
        accuracies[str(budget)] = accuracy(head, test)
    name, seconds = study.domain_names[domain], time.perf_counter() - start
    key = {"strategy": strategy, "domain": name, "repetition": repetition, **study.settings}
    return {**key, "accuracy": accuracies, "seconds": round(seconds, 3), "commit": provenance()["commit"]}


def accuracy(head: Objective, test: Labeled) -> float:
    """The fraction of images whose class is predicted."""
    return float((head.logits(test.features).argmax(dim=1) == test.labels).double().mean())


def summary(records: Sequence[dict[str, Any]], budgets: Sequence[int]) -> dict[str, Any]:
    """Means by strategy, domain and budget, with the paired difference to random; and the verdict on the default."""
    domains = list(dict.fromkeys(record["domain"] for record in records))
    found = {(r["strategy"], r["domain"], r["repetition"]): r["accuracy"] for r in records}
    repetitions = sorted({record["repetition"] for record in records})

    def values(strategy: str, domain: str, budget: int) -> list[float]:
        if domain == "average":
            return np.mean([values(strategy, each, budget) for each in domains], axis=0).tolist()
        return [found[strategy, domain, repetition][str(budget)] for repetition in repetitions]

    strategies = list(dict.fromkeys(record["strategy"] for record in records))
    rows = {
        strategy: {
            domain: {
                budget: {
                    "accuracy": estimate(values(strategy, domain, budget)),
                    "vs_random": paired_difference(values(strategy, domain, budget), values("random", domain, budget)),
                }
                for budget in (0, *budgets)
            }
            for domain in (*domains, "average")
        }
        for strategy in strategies
    }
    return {"repetitions": len(repetitions), "rows": rows, "passes": [name for name in rows if _passes(rows[name])]}


def _passes(row: dict[str, Any]) -> bool:
    """Better than random at 28 and 105 labels on average, and nowhere significantly worse."""
    checked = [budget for budget in (28, 105) if budget in row["average"]]
    ends = {(name, b): row[name][b]["vs_random"].ci95 or (0, 0) for name in row for b in checked}
    better = all(ends["average", budget][0] > 0 for budget in checked)
    return better and all(high >= 0 for _, high in ends.values())


def _generator(*names: Any) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for("labeling", *names))


_study: Study


def _start(study: Study) -> None:
    global _study
    torch.set_num_threads(1)
    _study = study


def _repeat(strategy: str, domain: int, repetition: int) -> dict[str, Any]:
    return repeat(_study, strategy, domain, repetition)


def read_study(args: argparse.Namespace) -> Study:
    """Features of the data set, from the cache or extracted into it."""
    backbone = BackboneConfig(args.backbone, "standard", args.weights)
    data = load(args.data, image_size=args.image_size or backbone.image_size)
    setup = ExperimentConfig(data, backbone, True, Validation(), choose_training("frozen"))
    features = frozen_features(setup, make_fabric("auto", "32-true", 1, 1))
    labels, domains = torch.from_numpy(data.labels), torch.from_numpy(data.domains)
    return Study(torch.tensor(features), labels, domains, data.domain_names, tuple(args.budgets), args.trust)


def measure(study: Study, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The records of all repetitions; those that are finished are read."""
    file = args.out / "records.jsonl"
    done = {_key(record): record for record in (read_jsonl(file) if file.exists() else [])}
    domains = range(len(study.domain_names))
    wanted = list(itertools.product(range(args.repetitions), domains, args.strategies))
    keys = [
        _key({"strategy": name, "domain": study.domain_names[domain], "repetition": repetition, **study.settings})
        for repetition, domain, name in wanted
    ]
    left = [job for job, key in zip(wanted, keys, strict=True) if key not in done]
    with ProcessPoolExecutor(args.jobs, initializer=_start, initargs=(study,)) as processes:
        jobs = [processes.submit(_repeat, name, domain, repetition) for repetition, domain, name in left]
        for count, job in enumerate(as_completed(jobs), start=1):
            done[_key(job.result())] = job.result()
            if count % 20 == 0 or count == len(jobs):
                write_jsonl(file, [done[key] for key in sorted(done)])
                print(f"{count} of {len(jobs)}", flush=True)
    return [done[key] for key in keys]


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    names = ("strategy", "domain", "repetition", "budgets", "trust")
    return tuple(str(record[name]) if name == "budgets" else record[name] for name in names)


def table(found: dict[str, Any]) -> str:
    """Accuracy by strategy and budget, averaged over domains, with the difference to random."""
    lines = []
    for name, row in found["rows"].items():
        cells = [
            f"{100 * each['accuracy'].mean:.1f} ({_points(each['vs_random'])})" for each in row["average"].values()
        ]
        lines.append("  ".join([f"{name:17}", *(f"{cell:>22}" for cell in cells)]))
    return "\n".join(lines)


def _points(value: Estimate) -> str:
    half = 0.0 if value.ci95 is None else (value.ci95[1] - value.ci95[0]) / 2
    return f"{100 * value.mean:+.1f} ± {100 * half:.1f}"


def main() -> None:
    """Compare, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with domain/class/image, or a data set's name")
    parser.add_argument("--out", type=Path, required=True, help="folder for records, summary and curves")
    parser.add_argument("--strategies", nargs="+", default=STRATEGY_NAMES, choices=STRATEGY_NAMES)
    parser.add_argument("--budgets", nargs="+", type=int, default=BUDGETS)
    parser.add_argument("--repetitions", type=int, default=50)
    parser.add_argument("--trust", type=float, default=DEFAULT_TRUST, help="of the refit; 0 chooses it")
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    parser.add_argument("--backbone", default=PACKAGE_BACKBONE)
    parser.add_argument("--weights", default=PACKAGE)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--quick", action="store_true", help="two repetitions, two budgets, three strategies")
    args = parser.parse_args()
    if args.quick:
        args.repetitions, args.budgets, args.strategies = 2, (3, 6), ["random", "entropy", DEFAULT_STRATEGY]
    args.strategies = list(dict.fromkeys(["random", *args.strategies]))
    with exclusive(args.out):
        found = summary(measure(read_study(args), args), args.budgets)
        print(table(found))
        plain = json.loads(json.dumps(found, default=lambda value: value.__dict__))
        about = {
            "benchmark": "labeling",
            "default": DEFAULT_STRATEGY,
            "budgets": list(args.budgets),
            "trust": args.trust,
        }
        write_json(args.out / "summary.json", about | plain | provenance())
        curves = {
            name: {b: each["accuracy"] for b, each in row["average"].items() if b}
            for name, row in found["rows"].items()
        }
        figure = curves_with_intervals(
            "labeling", "accuracy by labels", curves, x="labels", y="accuracy, %", log=True
        )
        write_atomic(args.out / "curves.svg", standalone(figure))
    average = {
        name: {b: each["accuracy"].mean for b, each in row["average"].items()} for name, row in found["rows"].items()
    }
    print(json.dumps(about | {"average": average, "passes": found["passes"]}))


if __name__ == "__main__":
    main()
