"""The studies of learned and searched augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from afield.records import Record, read_json, read_jsonl, read_records
from afield.reporting.document import said
from afield.reproduction import seeds
from afield.reproduction.augmentation.arms import BASELINE, DEFAULT
from afield.reproduction.augmentation.plan import STUDY
from pages.tables import ROOT, filled, interval, not_run, study, table


def reproduced(lines: Sequence[Record], arm: str) -> str:
    """The difference of an arm to no augmentation in the records of the reproduction of paper B."""
    ours, plain = (seeds.of_recipe(lines, STUDY, each) for each in (arm, BASELINE))
    return said(seeds.paired(ours, plain), "+")


SIZES = {
    "learned-augmentation-few": 16,
    "learned-augmentation": 16,
    "learned-augmentation-many": 4,
    "learned-augmentation-long": 16,
}
"""The studies of the main arms by number of images, with the epochs of fine-tuning."""


def sizes_table() -> str:
    """Accuracy without augmentation, with the matched random affine and with the default augmentor, by size."""
    lines = []
    for name, epochs in SIZES.items():
        arms = {row["arm"]: row for row in study(name)["rows"]}
        plain, rival, ours = (arms[arm] for arm in (BASELINE, "random affine, matched", DEFAULT))
        images = read_jsonl(ROOT / "results" / name / "records.jsonl")[0]["images"]["train"]
        lines.append(
            (
                f"{images:,}",
                str(epochs),
                str(ours["accuracy"]["n"]),
                *(interval(row["accuracy"]) for row in (plain, rival, ours)),
                interval(rival["vs none"], "+"),
                interval(ours["vs none"], "+"),
                interval(ours["vs random affine, matched"], "+"),
                f"{sum(ours['collapses'].values())} of {ours['accuracy']['n']}",
            )
        )
    header = ("training images", "epochs", "n", "none", "matched", "learned", "matched − none", "learned − none")
    return table((*header, "learned − matched", "collapsed"), lines)


def searches_table(rows: list[dict[str, Any]] | None) -> str:
    """The gain of the searched policies with each search seed, and its mean over search seeds."""
    if not rows:
        return not_run("python benchmarks/fast_autoaugment.py --data FOLDER --out results/fast-autoaugment")
    lines = [
        (
            f"`{row['augment']}`",
            f"`{other}`",
            *(f"{100 * gain[other]:+.1f}" for gain in row["gains"].values()),
            interval(mean, "+"),
        )
        for row in rows
        for other, mean in row["over"].items()
    ]
    return table(("augmentation", "vs", *(f"search {seed}" for seed in rows[0]["gains"]), "mean"), lines)


def augmentation_page() -> str:
    """Accuracy of each arm and its differences to the rivals, measures of collapse, cost, and the searched policy."""
    rows = study("learned-augmentation")["rows"]

    def plain(row: dict[str, Any], name: str, digits: int, sign: str = "", factor: float = 1) -> str:
        return f"{factor * row[name]['mean']:{sign}.{digits}f}" if name in row else ""

    def against(row: dict[str, Any], rival: str) -> str:
        """The paired difference in points, or nothing for the rival itself."""
        found = row.get(f"vs {rival}")
        return "" if found is None or row["arm"] == rival else interval(found, "+")

    accuracy = [
        (
            f"**{row['arm']}**" if row["arm"] == "default" else row["arm"],
            str(row["accuracy"]["n"]),
            interval(row["accuracy"]),
            *(against(row, rival) for rival in ("none", "random affine, matched", "trivialaugment")),
            plain(row, "search_cpu_s", 0),
            plain(row, "tuning_cpu_s", 0),
        )
        for row in rows
    ]
    measures = [
        (
            f"**{row['arm']}**" if row["arm"] == "default" else row["arm"],
            *(plain(row, name, 3) for name in ("distance", "image_spread", "draw_spread")),
            plain(row, "entropy_gain", 2, "+"),
            plain(row, "kept", 0, "", 100),
            plain(row, "discriminator_accuracy", 0, "", 100),
            ", ".join(f"{name} ({count} of {row['accuracy']['n']})" for name, count in row["collapses"].items())
            or "none",
        )
        for row in rows
        if "collapses" in row
    ]
    searched = study("fast-autoaugment")
    cost = read_json(ROOT / "results" / "augment.json")["learned"]
    policy = [
        (
            f"`{row['augment']}`" + (f", search {row['search']}" if "search" in row else ""),
            str(row["accuracy"]["n"]),
            interval(row["accuracy"]),
            *(interval(row["over"][plain], "+") if plain in row["over"] else "" for plain in ("none", "crop_flip")),
            f"{row['search_s']:.0f}",
        )
        for row in searched["rows"]
    ]
    lines = read_records(ROOT / "results" / "reproduce-augmentation")
    parts = {
        "reproduced": reproduced(lines, DEFAULT),
        "reproduced_random": reproduced(lines, "random_affine"),
        "sizes": sizes_table(),
        "accuracy": table(
            ("augmentation", "n", "accuracy", "vs none", "vs matched", "vs TrivialAugment", "search, s", "training, s"),
            accuracy,
        ),
        "measures": table(
            ("augmentor", "distance", "over images", "over draws", "gain, bits", "kept, %", "D right, %", "collapse"),
            measures,
        ),
        "cost": f"{100 * cost['ratio']:.1f} %",
        "policy": table(("augmentation", "n", "accuracy", "vs none", "vs crop_flip", "search, s"), policy),
        "searches": searches_table(searched.get("searches")),
    }
    return filled("augmentation.md.in", parts)
