"""The penalties of IRM and V-REx in a short training: one change at a time."""

from __future__ import annotations

from afield.records import read_jsonl
from pages.tables import ROOT, table

STEPS = ROOT / "results" / "risk-penalties"

TENTHS = (0, 2, 9)
"""The parts of the training that the table shows."""


def risk_penalties() -> str:
    """Each form of a penalty: validation accuracy, and risk, penalty and logits over the training."""
    runs = read_jsonl(STEPS / "runs.jsonl")
    rows = []
    for name in dict.fromkeys(run["variant"] for run in runs):
        traces = [run["trace"] for run in runs if run["variant"] == name]
        validation = [run["validation"] for run in runs if run["variant"] == name]

        def mean(key: str, tenth: int, traces: list[dict[str, list[float]]] = traces) -> float:
            return sum(trace[key][tenth] for trace in traces) / len(traces)

        rows.append(
            (
                f"`{name}`",
                str(len(traces)),
                f"{100 * sum(validation) / len(validation):.1f}",
                *(f"{mean('risk', tenth):.2f}" for tenth in TENTHS),
                *(f"{mean('penalty', tenth):.3f}" for tenth in TENTHS),
                f"{mean('noise', 9):.3f}",
                f"{mean('logits', 9):.2f}",
            )
        )
    names = [f"{name}, {part}" for name in ("risk", "penalty") for part in ("first tenth", "third", "last")]
    return table(("form", "runs", "validation, %", *names, "noise in it, last", "deviation of logits, last"), rows)
