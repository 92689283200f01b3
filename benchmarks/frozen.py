"""Time of a comparison on a frozen backbone, without any cache and with cached features.

    python benchmarks/frozen.py --data PACS [--former SRC] [--recipes ...] [--jobs N] [--quick] [--out FILE]

PACS as image files, a frozen ImageNet-pretrained EfficientNet-Lite0 at 224 px, three recipes, each domain left out
once, three seeds. Cold: images are decoded and features extracted into an empty cache. Warm: the same command into
another folder, three times; the result is the median. The summaries are compared. With --former, the folder `src` of
another checkout, both checkouts take turns, and the ratios of wall time and of CPU time are those of ours to the other.
Nothing else should run on the machine; CPU time depends less on other work. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jobs import compare, largest_change

from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.records import write_json
from afield.runs.provenance import provenance

WARM = 3


class Timed(NamedTuple):
    """Wall and CPU seconds of a comparison, and its summary."""

    wall_s: float
    cpu_s: float
    summary: str


def measured(*options: str, **environment: str) -> Timed:
    """A comparison in a new folder, with all its processes."""
    before = os.times()
    wall, summary = compare(*options, **environment)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Timed(wall, cpu, summary)


def compared(ours: Sequence[Timed], former: Sequence[Timed]) -> dict[str, float]:
    """Ratios of the times, cold and warm, and the largest change of a mean accuracy."""

    def ratio(column: str, rounds: slice) -> float:
        first, second = (statistics.median(getattr(each, column) for each in found[rounds]) for found in (ours, former))
        return first / second

    return {
        "cold_wall": ratio("wall_s", slice(1)),
        "cold_cpu": ratio("cpu_s", slice(1)),
        "warm_wall": ratio("wall_s", slice(1, None)),
        "warm_cpu": ratio("cpu_s", slice(1, None)),
        "largest_change_of_a_mean": largest_change(ours[0].summary, former[0].summary),
    }


def main() -> None:
    """Measure, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with domain/class/image")
    parser.add_argument("--former", type=Path, help="the folder src of another checkout")
    parser.add_argument("--recipes", nargs="+", default=["erm", "flattening", "label_smoothing"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="number of runs at once")
    parser.add_argument("--backbone", default=PACKAGE_BACKBONE)
    parser.add_argument("--weights", default=PACKAGE)
    parser.add_argument("--quick", action="store_true", help="one recipe and one seed")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    if args.quick:
        args.recipes, args.seeds = ["erm"], 1
    model = ["--backbone", args.backbone, "--weights", args.weights, "--freeze"]
    options = ["--data", args.data, *model, "--recipes", *args.recipes]
    options += ["--seeds", str(args.seeds), "--jobs", str(args.jobs)]
    contestants = {"ours": {}} if args.former is None else {"former": {"PYTHONPATH": str(args.former)}, "ours": {}}
    timed: dict[str, list[Timed]] = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(1 + WARM):
            for name, environment in contestants.items():
                timed[name].append(measured(*options, **environment, AFIELD_CACHE=str(Path(cache) / name)))
    result: dict[str, Any] = {
        "benchmark": "frozen",
        "cores": os.cpu_count(),
        "recipes": args.recipes,
        "seeds": args.seeds,
        "jobs": args.jobs,
    }
    cold, *again = timed["ours"]
    result |= {"cold_s": cold.wall_s, "warm_s": [each.wall_s for each in again]}
    result |= {"cold_cpu_s": cold.cpu_s, "warm_cpu_s": [each.cpu_s for each in again]}
    result["warm_median_s"] = statistics.median(result["warm_s"])
    result["identical_summary"] = len({each.summary for each in timed["ours"]}) == 1
    print(f"cold {cold.wall_s:.1f} s, warm {result['warm_median_s']:.1f} s")
    if args.former is not None:
        result["to_former"] = compared(timed["ours"], timed["former"])
        print("to the former code:", result["to_former"])
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
