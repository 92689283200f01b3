"""Which images to label at a new place: strategies compared by accuracy after few labels, on frozen features.

    python benchmarks/labeling.py --data PACS --out results/labeling [--repetitions 50] [--jobs 2] [--quick]

The comparison of `afield compare --label-budget` (`afield.comparison.labeling`), with all strategies that need features
and logits only, and with the trust that `--trust` gives (by default that of `afield.labeling.refit`; 0 chooses it by
cross-validation, which takes longer). Finished repetitions are not repeated. ``passes`` lists the strategies that are
significantly better than random with 28 and with 105 labels on average and significantly worse on no domain. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from afield.comparison.labeling.measure import jobs, measure
from afield.comparison.labeling.report import labeling_curves
from afield.comparison.labeling.study import BUDGETS, LACKS, LabelingStudy, check_budget, strategies_to_compare
from afield.comparison.labeling.summary import AVERAGE, Cell, labeling_rows
from afield.data import Validation, load
from afield.labeling import STRATEGIES
from afield.labeling.refit import DEFAULT_TRUST
from afield.labeling.select import DEFAULT_STRATEGY
from afield.launch.fabric import make_fabric
from afield.models import BackboneConfig
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.records import exclusive, write_atomic, write_json
from afield.reporting.document import said
from afield.reporting.plots import standalone
from afield.runs.config import ExperimentConfig, choose_training
from afield.runs.features import stored_features
from afield.runs.provenance import provenance

STRATEGY_NAMES = [name for name in STRATEGIES.names if name not in LACKS]


def read_study(args: argparse.Namespace) -> LabelingStudy:
    """Features of the data set, from the cache or extracted into it."""
    backbone = BackboneConfig(args.backbone, "standard", args.weights)
    data = load(args.data, image_size=args.image_size or backbone.image_size)
    check_budget(data, args.budgets[-1])
    setup = ExperimentConfig(data, backbone, True, Validation(), choose_training("frozen"))
    features = stored_features(setup, "none", make_fabric("auto", "32"))
    assert features is not None
    return LabelingStudy(features, data.labels, data.domains, data.domain_names, tuple(args.budgets), args.trust)


def passes(row: Mapping[str, Mapping[str, Cell]]) -> bool:
    """Better than random at 28 and 105 labels on average, and nowhere significantly worse."""
    checked = [budget for budget in ("28", "105") if budget in row[AVERAGE]]
    ends = {(name, b): row[name][b].vs_random.ci95 or (0, 0) for name in row for b in checked}
    better = all(ends[AVERAGE, budget][0] > 0 for budget in checked)
    return better and all(high >= 0 for _, high in ends.values())


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
    with exclusive(args.out):
        wanted = jobs(read_study(args), strategies_to_compare(args.strategies), args.repetitions)
        rows = labeling_rows(measure(wanted, args.out, processes=args.jobs))
        about = {
            "benchmark": "labeling",
            "default": DEFAULT_STRATEGY,
            "budgets": list(args.budgets),
            "trust": args.trust,
        }
        passing = [name for name, row in rows.items() if passes(row)]
        found = {
            "repetitions": args.repetitions,
            "rows": json.loads(json.dumps(rows, default=dataclasses.asdict)),
            "passes": passing,
        }
        write_json(args.out / "summary.json", about | found | provenance())
        write_atomic(args.out / "curves.svg", standalone(labeling_curves(rows)))
    for name, row in rows.items():
        print(f"{name:17}", *(f"{b}: {said(cell.vs_random, '+')}" for b, cell in row[AVERAGE].items() if b != "0"))
    average = {name: {b: cell.accuracy.mean for b, cell in row[AVERAGE].items()} for name, row in rows.items()}
    print(json.dumps(about | {"average": average, "passes": passing}))


if __name__ == "__main__":
    main()
