"""Error rates and power of the rules for a recommendation."""

from __future__ import annotations

from typing import Any

from afield.evaluation import shown_domains
from afield.records import read_compared, read_json, read_summary
from afield.reporting.charts import PALETTE
from afield.reporting.figures import differences
from afield.reporting.plots import standalone
from pages.tables import ROOT, filled, table

RULES = ("seeds", "domains", "both", "pooled")


def differences_figure() -> str:
    """Differences of flattening to cross-entropy on PACS: each seed in each domain, and the average with intervals."""
    folder = ROOT / "results" / "pacs-algorithms-frozen"
    summary = read_summary(folder / "summary.json")
    colors = {"flattening": PALETTE[0]}
    return standalone(differences(read_compared(folder), summary, shown_domains(summary), colors)["flattening"])


def recommendations_page() -> str:
    """What the intervals mean, with the tables of the simulation."""
    found = read_json(ROOT / "results" / "recommendation.json")
    count, cells = found["simulations"], found["cells"]
    kinds = list(dict.fromkeys(cell["kind"] for cell in cells))
    recipes = list(dict.fromkeys(cell["recipes"] for cell in cells))
    domains = list(dict.fromkeys(cell["domains"] for cell in cells))

    def chosen(**setting: Any) -> list[dict[str, Any]]:
        return [cell for cell in cells if all(cell[name] == value for name, value in setting.items())]

    def errors(kind: str, recipes: int, rule: str) -> str:
        values = [100 * cell["errors"][rule] / count for cell in chosen(kind=kind, recipes=recipes)]
        return f"{sum(values) / len(values):.1f}, {max(values):.1f}"

    def power(recipes: int, rule: str, domains: int) -> str:
        (cell,) = chosen(kind="equal", recipes=recipes, domains=domains, seeds=5)
        return f"{100 * cell['found'][rule] / count:.0f}"

    wrong = [(kind, str(r), *(errors(kind, r, rule) for rule in RULES)) for kind in kinds for r in recipes]
    right = [(str(r), str(d), *(power(r, rule, d) for rule in RULES)) for r in recipes for d in domains]
    return filled(
        "recommendations.md.in",
        {
            "simulations": f"{count:,}",
            "errors": table(("deviations", "recipes", *RULES), wrong),
            "power": table(("recipes", "domains", *RULES), right),
        },
    )
