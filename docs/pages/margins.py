"""The studies of margin heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from afield.records import read_json, read_records
from afield.reproduction import seeds
from afield.reproduction.margin.page import PUBLISHED
from afield.reproduction.margin.plan import CE, NETWORKS, PAPER, SETS
from pages.tables import ROOT, filled, interval, not_run, study, table


def confirmation_table(rows: Sequence[dict[str, Any]]) -> str:
    """Top-1 and mAP of cross-entropy and of the default head at each margin, with paired differences."""
    lines = [
        (
            "CIFAR-10" if row["data"] == "cifar10" else "CIFAR-100",
            "cross-entropy" if row["head"] == "linear" else f"ArcFace, {row['margin']:g} rad",
            *(interval(row[metric]) for metric in ("accuracy", "map")),
            *(
                "" if row["head"] == "linear" else interval(row[f"{metric}_vs_ce"], "+")
                for metric in ("accuracy", "map")
            ),
        )
        for row in sorted(rows, key=lambda row: len(row["data"]))
    ]
    return table(("data", "objective", "top-1", "mAP", "top-1 vs CE", "mAP vs CE"), lines)


HEADS = {
    "erm": "cross-entropy",
    "normalized_softmax": "normalized softmax",
    "arcface": "ArcFace",
    "cosface": "CosFace",
    "sphereface": "SphereFace",
    "subcenter_arcface": "sub-center ArcFace",
    "adacos": "AdaCos",
}
"""Names of the heads, by recipe."""


def heads_table(rows: Sequence[dict[str, Any]]) -> str:
    """Top-1 and mAP of each kind of head, with paired differences to cross-entropy and to ArcFace."""
    if not rows:
        return not_run("python benchmarks/reliability.py --study heads --data FOLDER --out results/margin-reliability")
    columns = [(metric, name) for metric in ("accuracy", "map") for name in ("", "_vs_ce", "_vs_arcface")]
    rivals = {"erm": "_vs_ce", "arcface": "_vs_arcface"}
    lines = [
        (
            "CIFAR-10" if row["data"] == "cifar10" else "CIFAR-100",
            HEADS[row["recipe"]],
            *(
                "" if rivals.get(row["recipe"]) == name else interval(row[metric + name], "+" if name else "")
                for metric, name in columns
            ),
        )
        for row in sorted(rows, key=lambda row: len(row["data"]))
    ]
    header = ("data", "head", *(f"{metric}{vs}" for metric in ("top-1", "mAP") for vs in ("", " vs CE", " vs ArcFace")))
    return table(header, lines)


def networks_table() -> str:
    """Top-1 of the paper's networks with cross-entropy and with the paper's head, and the paired difference."""
    records, lines = read_records(ROOT / "results" / "reproduce-margin"), []
    for data, network in PUBLISHED:
        plain, margin = (seeds.of_recipe(records, f"{data}/{network}", recipe.name) for recipe in (CE, PAPER))
        found = [interval(asdict(seeds.over(accuracies))) for accuracies in (plain, margin)]
        lines.append((SETS[data], NETWORKS[network], *found, interval(asdict(seeds.paired(margin, plain)), "+")))
    return table(("data", "network", "cross-entropy", "ArcFace, as in the paper", "difference"), lines)


def grid_table(rows: Sequence[dict[str, Any]]) -> str:
    """Top-1 of each setting: a row for each scale and margin, a column for each gradient, warm-up and neck."""
    columns = [(g, w, n) for n in (False, True) for g in ("straight_through", "exact") for w in (False, True)]
    cells = {
        (row["scale"], row["margin"], row["gradient"], row["warmup"], row["neck"]): row
        for row in rows
        if row["head"] == "arcface"
    }
    header = [
        f"{gradient.replace('_', '-')}{', warm-up' if warmup else ''}{', neck' if neck else ''}"
        for gradient, warmup, neck in columns
    ]
    lines = []
    for scale, margin in dict.fromkeys((row["scale"], row["margin"]) for row in cells.values()):
        found = [cells.get((scale, margin, *column)) for column in columns]
        lines.append((scale, f"{margin:g}", *(grid_cell(row) if row else "" for row in found)))
    return table(("scale", "margin", *header), lines)


def grid_cell(row: dict[str, Any]) -> str:
    """Mean top-1 in %: bold above cross-entropy, italic below it, struck through if the setting fails."""
    mean = row["accuracy"]["mean"]
    low, high = row["accuracy_vs_ce"]["ci95"]
    text = f"{100 * mean:.1f}"
    if row["fails"]:
        return f"~~{text}~~"
    return f"**{text}**" if low > 0 else f"*{text}*" if high < 0 else text


def margins_page() -> str:
    """The studies of margin heads, and their cost."""
    rows = study("margin-reliability")["rows"]
    of = {name: [row for row in rows if row["study"] == name] for name in ("confirm", "heads", "grid")}
    plain = {(row["data"], row["recipe"]): row["accuracy"] for row in of["grid"] if row["head"] == "linear"}
    grids = "\n".join(
        f"{title}, cross-entropy: {interval(plain[data, 'erm'])}; with a neck: {interval(plain[data, 'erm+neck'])}.\n\n"
        + grid_table([row for row in of["grid"] if row["data"] == data])
        for title, data in (("CIFAR-10", "cifar10"), ("CIFAR-100", "cifar100"))
    )
    thousand = study("thousand-classes")["recipes"]
    epochs = range(1, len(next(iter(thousand.values()))["curve"]), 2)
    curves = table(
        ("objective", *(f"epoch {epoch + 1}" for epoch in epochs), "last epoch: mean ± sd [95 %]", "vs cross-entropy"),
        [
            (
                name,
                *(f"{100 * row['curve'][epoch]:.1f}" for epoch in epochs),
                interval(row["accuracy"]),
                "" if name == "cross-entropy" else interval(row["vs_cross_entropy"], "+"),
            )
            for name, row in thousand.items()
        ],
    )
    costs = read_json(ROOT / "results" / "objectives.json")
    heads = table(
        ("head and loss", *(f"K = {int(classes):,}" for classes in costs["heads"])),
        [
            (name, *(f"{row[name]['time']:.2f} / {row[name]['memory']:.2f}" for row in costs["heads"].values()))
            for name in next(iter(costs["heads"].values()))
        ],
    )
    sampled = costs["sampled"]
    parts = {
        "confirm": confirmation_table(of["confirm"]),
        "heads": heads_table(of["heads"]),
        "networks": networks_table(),
        "grid": grids,
        "thousand": curves,
        "costs": heads,
        "flattening": " and ".join(f"{row['time']:.2f}" for row in costs["flattening"].values()),
        "million": f"{sampled['seconds_per_step']:.2f} s and {sampled['peak_rss_gib']:.1f} GiB of memory in total",
    }
    return filled("margins.md.in", parts)
