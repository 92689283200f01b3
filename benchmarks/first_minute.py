"""Does the default comparison end in the same finding with other seeds?

    python benchmarks/first_minute.py --out results/first-minute [--repetitions 20] [--jobs 1] [--quick]

The default comparison, `afield compare`, uses the seeds 0 to 3. This script repeats it with fresh seeds: 4 to 7, 8
to 11, and so on, and counts the repetitions that recommend a recipe. The seeds 0 to 3, with which the data set was
chosen, are not counted. Runs are kept under OUT/work/, and the same command goes on. The last line is one JSON object.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import afield
from afield.commands.compare import FIRST_DATA, FIRST_RECIPES, FIRST_SEEDS
from afield.comparison.summary import summarize
from afield.records import Record, read_records, write_json
from afield.runs.provenance import provenance


def finding(records: list[Record], first: int) -> dict[str, Any]:
    """What the comparison with the seeds from `first` on says."""
    chosen = [record for record in records if first <= record.seed < first + FIRST_SEEDS]
    summary = summarize(chosen, FIRST_DATA, "train_validation")
    row = summary.recipes[FIRST_RECIPES[1]]
    assert row.vs_erm is not None
    assert row.at_new_place is not None
    return {
        "seeds": summary.seeds,
        "recommended": summary.recommended,
        "reason": summary.reason,
        "average": {name: found.average.mean for name, found in summary.recipes.items()},
        "these_domains": row.vs_erm.as_dict(),
        "new_place": asdict(row.at_new_place),
    }


def main() -> None:
    """Compare, write the record, and print a line for each repetition."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the record and the runs")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one repetition of one epoch")
    args = parser.parse_args()
    given: dict[str, Any] = {"epochs": 1} if args.quick else {}
    repetitions = 1 if args.quick else args.repetitions
    work = args.out / "work"
    afield.compare(seeds=FIRST_SEEDS * (repetitions + 1), jobs=args.jobs, out=str(work), **given)
    records = read_records(work)
    found = [finding(records, FIRST_SEEDS * (i + 1)) for i in range(repetitions)]
    for each in found:
        print(f"seeds {each['seeds'][0]} to {each['seeds'][-1]}: recommended {each['recommended']}; {each['reason']}")
    result = {
        "benchmark": "first_minute",
        "data": FIRST_DATA,
        "recipes": FIRST_RECIPES,
        "epochs": records[0].config["training"]["epochs"],
        "repetitions": repetitions,
        "significant_on_these_domains": sum(each["these_domains"]["ci95"][0] > 0 for each in found),
        "recommended": sum(each["recommended"] == FIRST_RECIPES[1] for each in found),
        "default": finding(records, 0),
        "fresh": found,
        **provenance(),
    }
    write_json(args.out / "summary.json", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
