"""The algorithms: their cost, and their results on PACS."""

from __future__ import annotations

from typing import Any

from afield.records import read_json
from afield.reproduction.flattening.page import BASELINE, OURS
from afield.reproduction.flattening.plan import SYSTEMS
from pages.tables import ROOT, interval, study, table

PUBLISHED = {"erm": BASELINE, "flattening": OURS[-1]} | {
    recipe: accuracies[-1] for recipe, (_, accuracies) in SYSTEMS.items() if accuracies is not None
}
"""Paper A, tables 1 and 2: average over PACS' domains of a fine-tuned ResNet-18 at 224 px."""

COMPARISONS = ("pacs-algorithms-frozen", "pacs-algorithms-images")


def time_over_erm() -> dict[str, float]:
    """Time of a step of each algorithm and averaging, relative to ERM."""
    ratios: dict[str, float] = read_json(ROOT / "results" / "algorithms.json")["time_over_erm"]
    return ratios


def algorithm_costs() -> str:
    """The relative times as a table."""
    return table(("name", "time / `erm`"), [(f"`{name}`", f"{ratio:.2f}") for name, ratio in time_over_erm().items()])


def agreement_with_domainbed() -> str:
    """Relative differences between our steps and DomainBed's, as they are and without the deviations."""
    record = read_json(ROOT / "results" / "domainbed.json")

    def small(value: float | None) -> str:
        return "" if value is None else f"{value:.0e}" if value else "0"

    def cells(found: dict[str, Any] | None) -> tuple[str, str, str]:
        if found is None:
            return "", "", ""
        loss = max(found["terms"].values(), default=None)
        return small(loss), small(found["gradient"]), small(found["weights"])

    rows = [
        (f"`{name}`", row["theirs"], *cells(row["same"]), *cells(row.get("aligned")), row["deviations"])
        for name, row in record["rows"].items()
    ]
    without = ("without deviations: loss", "gradient", "weights")
    return table(("name", "DomainBed", "loss", "gradient", "weights", *without, "deviations"), rows)


def compared_on_pacs() -> str:
    """Accuracy on unseen domains and published numbers: heads on frozen features, and a whole network."""
    costs, found = time_over_erm(), [study(name)["recipes"] for name in COMPARISONS]
    names = list(dict.fromkeys(name for recipes in found for name in recipes))

    def cells(row: dict[str, Any] | None, name: str) -> tuple[str, str]:
        if row is None:
            return "", ""
        return interval(row["average"]), "" if name == "erm" else interval(row["vs_erm"], "+")

    rows = [
        (
            f"`{name}`",
            f"{100 * PUBLISHED[name]:.2f}" if name in PUBLISHED else "",
            *(cell for recipes in found for cell in cells(recipes.get(name), name)),
            f"{costs[name]:.2f}" if name in costs else "",
            "not comparable" if name in PUBLISHED else "not run at full size",
        )
        for name in names
    ]
    header = ("recipe", "published", "frozen", "− erm", "whole network", "− erm", "time / erm", "full size")
    return table(header, rows)
