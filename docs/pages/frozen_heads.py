"""The study of cosine heads and flattening on frozen features."""

from __future__ import annotations

from typing import Any

from afield.records import read_jsonl
from pages.tables import ROOT, filled, interval, study, table

RIVALS = ("cross-entropy", "flattening", "cosine")


def at_new_place(found: dict[str, Any]) -> str:
    """The interval at a new place, and the number of domains with a gain."""
    low, high = found["ci95"]
    return f"[{100 * low:+.1f}, {100 * high:+.1f}], better on {found['better_on']} of {found['n']}"


def scales_table() -> str:
    """The accuracy by scale on domains outside the training domains, averaged over the choices."""
    found: dict[str, dict[str, list[float]]] = {}
    for line in read_jsonl(ROOT / "results" / "frozen-heads" / "choices.jsonl"):
        for scale, accuracy in line["accuracies"].items():
            found.setdefault(line["family"], {}).setdefault(scale.removesuffix(".0"), []).append(accuracy)
    columns = sorted(found["cosine"], key=lambda scale: (scale != "auto", scale))
    lines = [
        (family, *(f"{100 * sum(row[scale]) / len(row[scale]):.1f}" if scale in row else "" for scale in columns))
        for family, row in found.items()
    ]
    return table(("head and loss", *(f"scale {scale}" for scale in columns)), lines)


def frozen_heads_page() -> str:
    """Each head and loss against cross-entropy, flattening and the cosine head."""
    rows = study("frozen-heads")["rows"]
    lines = [
        (
            row["family"],
            ", ".join(f"{scale:g}" for scale in row["scales"]),
            interval(row["accuracy"]),
            *(interval(row["vs"][rival], "+") if rival in row["vs"] else "" for rival in RIVALS),
            *(at_new_place(row["at_new_place"][rival]) if rival in row["vs"] else "" for rival in RIVALS[1:2]),
        )
        for row in rows
    ]
    header = ("head and loss", "scales", "accuracy", *(f"− {rival}" for rival in RIVALS), "− flattening, new place")
    parts = {"seeds": str(rows[0]["accuracy"]["n"]), "scales": scales_table(), "accuracy": table(header, lines)}
    return filled("frozen_heads.md.in", parts)
