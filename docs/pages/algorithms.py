"""What the algorithms cost."""

from __future__ import annotations

import json

from pages.tables import ROOT, table


def algorithm_costs() -> str:
    """Seconds a step of each algorithm and averaging, relative to ERM."""
    found = json.loads((ROOT / "results" / "algorithms.json").read_text())["time_over_erm"]
    return table(("name", "times as long"), [(f"`{name}`", f"{ratio:.2f}") for name, ratio in found.items()])
