"""`fast_cifar` and plain training for the same time."""

from __future__ import annotations

from afield.records import read_jsonl
from pages.tables import ROOT, table


def fast_cifar_table() -> str:
    """Accuracy, epochs and images per second of each contestant."""
    rows = [
        (
            f"{row['contestant']} (`{row['backbone']}`)",
            f"{100 * row['accuracy']:.1f}",
            f"{100 * row['accuracy_tta']:.1f}",
            f"{row['training_s'] / 60:.1f}",
            str(row["epochs"]),
            f"{row['images_per_second']:,.0f}",
        )
        for row in read_jsonl(ROOT / "results" / "fast-cifar" / "records.jsonl")
    ]
    header = ("contestant", "test accuracy, %", "with test-time augmentation, %", "training, min", "epochs", "images/s")
    return table(header, rows)
