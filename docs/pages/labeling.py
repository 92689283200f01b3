"""Strategies that choose what to label, compared on PACS; learning loss on CIFAR-10."""

from __future__ import annotations

from typing import Any

from afield.records import read_json
from pages import learning_loss
from pages.parts import registry_table
from pages.tables import ROOT, filled, study, table


def labeling_page() -> str:
    """The strategies, and how they compare with random sampling."""
    found, cycle = study("labeling"), study("learning-loss")
    size = cycle["size"]
    return filled(
        "labeling.md.in",
        {
            "strategies": registry_table("strategies"),
            "accuracies": _accuracies(found),
            "domains": _domains(found),
            "repetitions": str(found["repetitions"]),
            "verdict": _verdict(found),
            **{name: f"{size[name]:,}" for name in ("first", "more", "subset")},
            "epochs": str(size["training"]["epochs"]),
            "seeds": str(cycle["seeds"]),
            "cycles": _cycles(cycle),
            "elsewhere": learning_loss.accuracies(),
            "sources": learning_loss.sources(),
            "claims": learning_loss.verdicts(),
            "speed": _speed(),
        },
    )


def _accuracies(found: dict[str, Any]) -> str:
    """Mean accuracy by strategy and budget, with the paired difference to random."""
    budgets = ["0", *map(str, found["budgets"])]
    rows = [
        (f"`{name}`", *(_cell(row["average"][budget], name) for budget in budgets))
        for name, row in sorted(found["rows"].items(), key=lambda each: -each[1]["average"]["28"]["accuracy"]["mean"])
    ]
    return table(("strategy", *(f"{budget} labels" for budget in budgets)), rows)


def _domains(found: dict[str, Any]) -> str:
    """The paired difference to random with 28 and with 105 labels on each domain."""
    domains = [name for name in found["rows"]["random"] if name != "average"]
    header = ("strategy", *(f"{name}, {budget}" for name in domains for budget in (28, 105)))
    rows = [
        (f"`{name}`", *(_difference(row[each][budget]["vs_random"]) for each in domains for budget in ("28", "105")))
        for name, row in found["rows"].items()
        if name != "random"
    ]
    return table(header, rows)


def _cycles(found: dict[str, Any]) -> str:
    """Mean test accuracy by strategy and number of labels, with the paired difference to random."""
    header = ("strategy", *(f"{count:,} labels" for count in found["labels"]))
    return table(
        header, [(f"`{name}`", *(_cell(cell, name) for cell in row.values())) for name, row in found["rows"].items()]
    )


def _cell(value: dict[str, Any], name: str) -> str:
    mean = f"{100 * value['accuracy']['mean']:.1f}"
    return mean if name == "random" or not value["vs_random"]["sd"] else f"{mean} ({_difference(value['vs_random'])})"


def _difference(value: dict[str, Any]) -> str:
    low, high = value["ci95"]
    mark = "**" if low > 0 or high < 0 else ""
    return f"{mark}{100 * value['mean']:+.1f}{mark}"


def _verdict(found: dict[str, Any]) -> str:
    """What holds of the default, and which strategies lose to random."""
    default, losing = found["default"], []
    for name, row in found["rows"].items():
        ends = [row["average"][budget]["vs_random"]["ci95"] for budget in ("28", "105")]
        if name != "random" and any(high < 0 for _, high in ends):
            losing.append(f"`{name}`")
    held = "is" if default in found["passes"] else "is not"
    lost = f" Significantly worse than random with 28 or with 105 labels: {', '.join(losing)}." if losing else ""
    return (
        f"The default, `{default}`, {held} significantly better than random with 28 and with 105 labels on average "
        f"and significantly worse on no domain.{lost}"
    )


def _speed() -> str:
    """Time and memory of each strategy for a large pool."""
    found = read_json(ROOT / "results" / "labeling_speed.json")["strategies"]
    rows = [
        (f"`{name}`", f"{row['seconds']:.1f}", f"{row['cpu_s']:.1f}", f"{row['peak_bytes'] / 2**20:.0f}")
        for name, row in sorted(found.items(), key=lambda item: -item[1]["seconds"])
    ]
    return table(("strategy", "seconds", "CPU seconds", "peak memory, MiB"), rows)
