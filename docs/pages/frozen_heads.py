"""The study of heads and losses on frozen features."""

from __future__ import annotations

from typing import Any

from afield.records import read_jsonl
from pages.tables import ROOT, filled, interval, study, table

SINGLE = ("flattening", "cosine", "margin")
"""The families that combinations are compared with."""


def setting(options: dict[str, Any]) -> str:
    """A chosen setting in words: the scale, the weight of flattening, or a training setting."""
    scale, weight = options.get("head_options", {}).get("scale"), options.get("losses", {}).get("complement_flattening")
    words = [f"s = {scale:g}" if isinstance(scale, float) else f"s {scale}"] if scale else []
    words += [f"λ {weight:g}"] if weight else []
    words += [f"{value:g}" for value in options.get("training", {}).values()]
    return ", ".join(words) or "–"


def settings(row: dict[str, Any]) -> str:
    """The settings that were chosen for the unseen domains; one if they are equal."""
    found = [setting(options) for options in row["options"].values()]
    return found[0] if len(set(found)) == 1 else "; ".join(found)


def at_new_place(found: dict[str, Any]) -> str:
    """The interval at a new place, and the number of domains with a gain."""
    low, high = found["ci95"]
    return f"[{100 * low:+.1f}, {100 * high:+.1f}], better on {found['better_on']} of {found['n']}"


def scales_table() -> str:
    """The accuracy of each family on domains outside the training domains, by scale: the mean of the choices."""
    found: dict[str, dict[str, list[float]]] = {}
    for line in read_jsonl(ROOT / "results" / "frozen-heads" / "choices.jsonl"):
        for options, accuracy in zip(line.get("settings", ()), line.get("accuracies", ()), strict=True):
            if "scale" in options.get("head_options", {}):
                scale = options["head_options"]["scale"]
                column = scale if isinstance(scale, str) else f"{scale:g}"
                found.setdefault(line["family"], {}).setdefault(column, []).append(accuracy)
    columns = sorted({column for row in found.values() for column in row}, key=lambda name: (name != "auto", len(name)))
    lines = [
        (family, *(f"{100 * sum(row[c]) / len(row[c]):.1f}" if c in row else "" for c in columns))
        for family, row in found.items()
    ]
    return table(("family", *(f"s = {column}" for column in columns)), lines)


def frozen_heads_page() -> str:
    """Each family against cross-entropy and flattening, and each combination against its parts."""
    rows = study("frozen-heads")["rows"]
    plain = "cross-entropy"
    accuracy = [
        (
            row["family"],
            settings(row),
            interval(row["accuracy"]),
            *("" if row["family"] == rival else interval(row[f"vs {rival}"], "+") for rival in (plain, "flattening")),
            "" if row["family"] == plain else at_new_place(row[f"new place vs {plain}"]),
        )
        for row in rows
    ]
    combined = [
        (row["family"], *(interval(row[f"vs {rival}"], "+") for rival in SINGLE))
        for row in rows
        if row["family"].endswith("+ flattening")
    ]
    header = ("family", "setting", "accuracy", "− cross-entropy", "− flattening", "− cross-entropy, new place")
    parts = {
        "seeds": str(rows[0]["accuracy"]["n"]),
        "scales": scales_table(),
        "accuracy": table(header, accuracy),
        "combined": table(("combination", *(f"− {rival}" for rival in SINGLE)), combined),
    }
    return filled("frozen_heads.md.in", parts)
