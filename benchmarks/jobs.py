"""Wall time of `afield compare --jobs N` relative to `--jobs 1`, and whether the summaries are equal.

    python benchmarks/jobs.py [--former SRC] [--quick] [--jobs N] [--out FILE]

The embedded digits with three recipes, in a new folder each time. The time includes loading, the start of worker
processes and the report. Each run uses one CPU thread. For comparison, single runs use as many threads as there are
jobs, so they can use the same cores. With --former, the folder `src` of another checkout, its `--jobs N` is measured
too. The commands take turns; a ratio is that of medians. Nothing else should run on the machine. The last line is one
JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from afield.records import write_json
from afield.runs.provenance import provenance

COMPARED = ("--data", "digits", "--backbone", "resnet8", "--recipes", "erm", "flattening", "arcface")
QUICK = ("--seeds", "1", "--epochs", "3")


def compare(*options: str, **environment: str) -> tuple[float, str]:
    """Wall seconds of a comparison in a new folder, and the summary that it writes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "afield", "compare", *options, "--out", folder]
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | environment)
        return time.monotonic() - began, (Path(folder) / "summary.json").read_text()


def largest_change(first: str, second: str) -> float:
    """The largest difference between the mean accuracies of a recipe in two summaries."""
    pairs = [[row["average"]["mean"] for row in json.loads(text)["recipes"].values()] for text in (first, second)]
    return max(abs(a - b) for a, b in zip(*pairs, strict=True))


def main() -> None:
    """Measure, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="one round with one seed, three epochs, and one thread for each run"
    )
    parser.add_argument("--former", type=Path, help="the folder src of another checkout")
    parser.add_argument("--jobs", type=int, default=2, help="number of runs at once")
    parser.add_argument("--out", type=Path, help="also write the JSON object, with hardware and versions, to this file")
    args = parser.parse_args()
    base = (*COMPARED, *QUICK) if args.quick else COMPARED
    contestants = {
        "--jobs 1": (*base, "--threads", "1", "--jobs", "1"),
        f"--jobs {args.jobs}": (*base, "--threads", "1", "--jobs", str(args.jobs)),
    }
    if not args.quick:
        contestants[f"--jobs 1 --threads {args.jobs}"] = (*base, "--threads", str(args.jobs), "--jobs", "1")
    one, many = list(contestants)[:2]
    environments: dict[str, dict[str, str]] = {}
    if args.former is not None:
        former = f"former, {many}"
        contestants[former], environments[former] = contestants[many], {"PYTHONPATH": str(args.former)}
    results: dict[str, list[tuple[float, str]]] = {name: [] for name in contestants}
    for _ in range(1 if args.quick else 3):
        for name, options in contestants.items():
            results[name].append(compare(*options, **environments.get(name, {})))
    seconds = {name: statistics.median(time for time, _ in found) for name, found in results.items()}
    print(f"{'command':24}{'seconds':>10}{'speedup':>16}")
    for name, value in seconds.items():
        print(f"{name:24}{value:>10.1f}{seconds[one] / value:>16.2f}")
    result = {
        "benchmark": "jobs",
        "cores": os.cpu_count(),
        "seconds": seconds,
        "speed": {name: seconds[one] / value for name, value in seconds.items()},
        "identical_summary": len({summary for name in (one, many) for _, summary in results[name]}) == 1,
    }
    if args.former is not None:
        result["to_former"] = {
            "wall": seconds[many] / seconds[former],
            "largest_change_of_a_mean": largest_change(results[many][0][1], results[former][0][1]),
        }
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
