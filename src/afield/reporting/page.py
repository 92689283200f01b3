"""One self-contained HTML page from the files of a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from afield.evaluation import SELECTIONS
from afield.records import read_json, read_jsonl, write_atomic
from afield.reporting import figures
from afield.reporting.charts import colours
from afield.reporting.confusion import LARGEST_TABLE, confused_pairs, heat_rows, pooled

Record = dict[str, Any]

BASELINE = "erm"

METRICS = {"accuracy": "accuracy", "map": "mean average precision"}


def render(folder: Path) -> Path:
    """Make ``report.html`` in a run folder from its records, summary and analysis; returns its path.

    Images are shown where the folder has a ``gallery.json``: results can be published without their data.

    Raises:
        InputError: one of the first three files is missing, or any is damaged.
    """
    records = read_jsonl(folder / "records.jsonl")
    summary = read_json(folder / "summary.json")
    analysis = read_json(folder / "analysis.json")
    gallery = read_json(folder / "gallery.json") if (folder / "gallery.json").exists() else None
    recipes = summary["recipes"]
    colour = colours(list(recipes))
    baseline = BASELINE if BASELINE in recipes else None
    leader = summary["recommended"] or max(recipes, key=lambda recipe: recipes[recipe]["average"]["mean"])
    html = (
        _environment()
        .get_template("page.html.j2")
        .render(
            summary=summary,
            analysis=analysis,
            gallery=gallery,
            domains=list(recipes[leader]["domains"]),
            colour=colour,
            baseline=baseline,
            leader=leader,
            metric=METRICS.get(summary["metric"], summary["metric"]),
            rule=SELECTIONS.entry(summary["selection"]).summary,
            facts=_facts(records[0]["config"], summary, analysis),
            unseen_images={part: n for record in records for part, n in _unseen_images(record)},
            intervals=figures.intervals(summary, colour, baseline),
            curves=figures.curves(records, colour),
            wrong_classes=figures.wrong_classes(analysis, colour),
            most_wrong=figures.WRONG_CLASSES,
            confusions=_confusions(analysis),
            provenance=_provenance(records),
        )
    )
    path = folder / "report.html"
    write_atomic(path, html + "\n")
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("afield.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda fraction: f"{100 * fraction:.1f}".replace("-", "−")
    environment.filters["points"] = lambda fraction: f"{100 * fraction:+.1f}".replace("-", "−")
    return environment


def _facts(config: Mapping[str, Any], summary: dict[str, Any], analysis: dict[str, Any]) -> dict[str, str]:
    """What was compared, by name."""
    backbone, training, size = config["backbone"], config["training"], config["data"]["image_size"]
    trained = "frozen" if backbone["freeze"] else "trained throughout"
    augmentation = f"augmentation: {training['augment']}"
    domains = next(iter(summary["recipes"].values()))["domains"]
    return {
        "Data": f"{summary['data']}: {len(domains)} domains, {len(analysis['classes'])} classes",
        "Backbone": f"{backbone['name']}, {trained}, weights: {backbone['weights']}",
        "Image size": f"{size} × {size} pixels",
        "Training": f"{training['epochs']} epochs, batches of {training['batch_size']}, {augmentation}",
        "Seeds": ", ".join(map(str, summary["seeds"])),
    }


def _unseen_images(record: Record) -> list[tuple[str, int]]:
    return [(part, record["images"][f"test/{part}"]) for part in record["held_out"]]


def _confusions(analysis: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """For each recipe the rows of a table if the classes are few, else the most confused pairs."""
    classes = analysis["classes"]
    counts = {recipe: pooled(found["confusion"]) for recipe, found in analysis["recipes"].items()}
    if len(classes) <= LARGEST_TABLE:
        return {recipe: {"rows": heat_rows(table)} for recipe, table in counts.items()}
    return {recipe: {"pairs": confused_pairs(table, classes)} for recipe, table in counts.items()}


def _provenance(records: Sequence[Record]) -> dict[str, str]:
    """Where the numbers come from, by name. What differs between runs is given in all its values."""
    splits = {record["split_hash"] for record in records}
    folds = {(*record["held_out"], record["seed"]) for record in records}
    return {
        "Runs": str(len(records)),
        "Training time": _duration(sum(record["duration_s"] for record in records)),
        "Splits": f"{len(splits)} distinct, for {len(folds)} pairs of unseen domain and seed",
        "Commit": "; ".join(_distinct(record["commit"] or "not a source checkout" for record in records)),
        "Hardware": "; ".join(_distinct(_listing(record["hardware"]) for record in records)),
        "Versions": "; ".join(_distinct(_listing(record["versions"]) for record in records)),
    }


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _listing(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
