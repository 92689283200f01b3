"""Wall time of a comparison on a frozen backbone, without any cache and with cached features.

    python benchmarks/frozen.py --data PACS [--recipes erm flattening label_smoothing] [--jobs N] [--quick] [--out FILE]

PACS as image files, a frozen ImageNet-pretrained EfficientNet-Lite0 at 224 px, three recipes, each domain left out
once, three seeds. Cold: images are decoded and features extracted into an empty cache. Warm: the same command into
another folder, three times; the result is the median. The summaries are compared. Nothing else should run on the
machine. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path

from jobs import compare

from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.records import write_json
from afield.runs.provenance import provenance


def main() -> None:
    """Measure, and print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a folder with domain/class/image")
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
    with tempfile.TemporaryDirectory() as cache:
        os.environ["AFIELD_CACHE"] = cache
        cold, first = compare(*options)
        again = [compare(*options) for _ in range(3)]
    warm = statistics.median(seconds for seconds, _ in again)
    print(f"cold {cold:.1f} s, warm {warm:.1f} s")
    result = {
        "benchmark": "frozen",
        "cores": os.cpu_count(),
        "recipes": args.recipes,
        "seeds": args.seeds,
        "jobs": args.jobs,
        "cold_s": cold,
        "warm_s": [seconds for seconds, _ in again],
        "warm_median_s": warm,
        "identical_summary": {first} == {summary for _, summary in again},
    }
    if args.out:
        write_json(args.out, result | provenance())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
