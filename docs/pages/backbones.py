"""Small backbones, compared on unseen domains."""

from __future__ import annotations

from afield.records import read_json
from pages.tables import ROOT, interval, table

TITLES = {"digits": "embedded digits", "corrupted": "CIFAR-10, corrupted", "pacs": "PACS at 32 px"}


def small_backbones() -> str:
    """Accuracy in unseen domains and on validation images, by data set and backbone."""
    rows = []
    for name, title in TITLES.items():
        file = ROOT / "results" / "small-backbones" / f"{name}.json"
        if not file.exists():
            continue
        found = read_json(file)
        for backbone, row in found["rows"].items():
            first = backbone == next(iter(found["rows"]))
            rows.append(
                (
                    f"{title}, n = {found['seeds']}",
                    f"`{backbone}`",
                    interval(row["unseen"]["average"]),
                    "" if first else interval(row["vs_first"], "+"),
                    f"{100 * row['validation']['mean']:.1f}",
                )
            )
    return table(("data", "backbone", "unseen, average", "− `resnet8`", "validation"), rows)
