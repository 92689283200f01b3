"""`fast_cifar` against plain training for the same time."""

from __future__ import annotations

import json

from pages.tables import ROOT, table


def fast_cifar_table() -> str:
    """Accuracy, epochs and rate of each contestant."""
    records = (ROOT / "results" / "fast-cifar" / "records.jsonl").read_text().splitlines()
    rows = [
        (
            f"{row['contestant']} (`{row['backbone']}`)",
            f"{100 * row['accuracy']:.1f}",
            f"{100 * row['accuracy_tta']:.1f}",
            f"{row['training_s'] / 60:.1f}",
            str(row["epochs"]),
            f"{row['images_per_second']:,.0f}",
        )
        for row in map(json.loads, records)
    ]
    header = ("contestant", "test accuracy, %", "with test-time views, %", "training, min", "epochs", "images/s")
    return table(header, rows)
