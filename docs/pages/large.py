"""Trials at large sizes: files, images, classes, domains and runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from afield.records import read_json
from pages.tables import ROOT, not_run, table

RECORDS = {
    "many_files": "python benchmarks/many_files.py --out results/many_files.json",
    "large/images": "python benchmarks/large.py --parts images --out results/large",
    "large/classes": "python benchmarks/large.py --parts classes --out results/large",
    "large/domains": "python benchmarks/large.py --parts domains --out results/large",
    "many_runs": "python benchmarks/many_runs.py --out results/many_runs.json",
}
"""The records by name, and the commands that write them."""

PARTS = {
    "splits": "splits of a seed",
    "dry run": "dry run",
    "dry run, all done": "dry run, all runs done",
    "comparison, all done": "comparison, all runs done",
    "report": "report",
}
"""The measured work of a comparison, and how the page calls it."""


def trials() -> str:
    """A table of the trials at large sizes, and the commands of those that were not run."""
    found, missing = [], []
    for name, command in RECORDS.items():
        file = ROOT / "results" / f"{name}.json"
        if file.exists():
            found += list(_rows(name, read_json(file)))
        else:
            missing.append(not_run(command))
    header = ("work", "number", "CPU time, s", "growth", "memory, MB")
    return "\n".join([*([table(header, found)] if found else []), *missing])


def _rows(name: str, record: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The rows of a record, at its largest size."""
    if name == "many_files":
        for start in ("first start", "second start"):
            yield _row(f"{start} with files", record[start], record[start]["sizes"][-1])
    elif name == "many_runs":
        for part, row in record["commands"].items():
            yield _row(f"{PARTS[part]}, runs", row, row["sizes"][-1])
    elif name == "large/domains":
        for part, title in PARTS.items():
            if part in record:
                yield _row(f"{title}, domains", record[part], record["sizes"][-1])
    elif name == "large/classes":
        yield _row(f"{record['steps'][-1]} steps of Partial FC, classes", record, record["sizes"][-1])
    else:
        yield _row("epoch of ResNet-8 at 16 px, images", record, record["sizes"][-1])


def _row(title: str, row: dict[str, Any], size: int) -> tuple[str, ...]:
    return title, f"{size:,}", f"{row['cpu_s'][-1]:.3g}", f"{row['growth']:.2f}", f"{row['peak_MB'][-1]:,.0f}"
