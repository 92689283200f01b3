"""`fast_cifar` and plain training for the same time."""

from __future__ import annotations

from typing import Any

from pages.tables import interval, study, table


def fast_cifar_table() -> str:
    """Accuracy over seeds, epochs and speed of each contestant, and the difference of `fast_cifar` to it."""
    rows = [
        (
            f"{row['contestant']} (`{row['backbone']}`)",
            str(row["accuracy"]["n"]),
            value(row["accuracy"]),
            value(row["accuracy_tta"]),
            value(row["fast_cifar_over_accuracy"], "+") if "fast_cifar_over_accuracy" in row else "",
            f"{row['training_s']['mean'] / 60:.1f}",
            " or ".join(map(str, row["epochs"])),
            f"{row['images_per_second']['mean']:,.0f}",
        )
        for row in study("fast-cifar")["rows"]
    ]
    header = ("contestant", "seeds", "test accuracy, %", "with test-time augmentation, %", "fast_cifar − it")
    return table((*header, "training, min", "epochs", "images/s"), rows)


def value(found: dict[str, Any], sign: str = "") -> str:
    """The mean in percent, with deviation and interval from three seeds on."""
    return f"{100 * found['mean']:{sign}.1f}" if found["ci95"] is None else interval(found, sign)
