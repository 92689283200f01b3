"""The report of a comparison, a self-contained HTML page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afield.errors import InputError
from afield.evaluation import METRICS, SELECTIONS, shown_domains, shown_domains_note
from afield.records import Record, Summary, SummaryRow, read_compared, read_json, read_summary
from afield.reporting import figures
from afield.reporting.charts import INK, PALETTE, colors
from afield.reporting.confusion import LARGEST_TABLE, class_rows, confused_pairs, heat_rows, pooled
from afield.reporting.learned import by_recipe
from afield.reporting.provenance import differences, provenance, trained_layers
from afield.reporting.templates import write_page


def render(folder: Path, compared: tuple[Sequence[Record], Summary] | None = None) -> Path:
    """Write ``report.html`` to a run folder, from its records, summary and analysis; returns its path.

    `compared` are records and summary that replace those of the folder, for another metric.

    The report contains images if the folder contains ``gallery.json``. Without it, results can be published without
    their data.

    Raises:
        InputError: if one of the first three files is missing, or any file is damaged.
    """
    records, summary = compared or (read_compared(folder), read_summary(folder / "summary.json"))
    analysis = read_json(folder / "analysis.json")
    metric, classes = METRICS[summary.metric], analysis["classes"]
    gallery = _gallery(folder / "gallery.json") if (folder / "gallery.json").exists() else None
    recipes = summary.recipes
    baseline = summary.baseline if summary.baseline in recipes else None
    domains = shown_domains(summary)
    color = colors(_drawn(recipes, baseline, metric.sign))
    reviews = {recipe: found["review"] for recipe, found in analysis["recipes"].items() if "review" in found}
    leader = summary.recommended or max(recipes, key=lambda recipe: metric.sign * recipes[recipe].average.mean)
    return write_page(
        folder / "report.html",
        "page.html.j2",
        summary=summary,
        analysis=analysis,
        gallery=gallery,
        domains=domains,
        shown_note=shown_domains_note(summary),
        color=color,
        baseline=baseline,
        places=baseline is not None and recipes[baseline].at_new_place is not None,
        differences={} if baseline is None else figures.differences(records, summary, domains, color),
        leader=leader,
        metric=metric,
        metrics={name: METRICS[name] for name in METRICS.names if all(name in row.metrics for row in recipes.values())},
        signed=lambda value, sign="", by=metric: by.text(value, sign).replace("-", "−"),
        by_class={name: class_rows(found["confusion"], classes) for name, found in analysis["recipes"].items()},
        rule=SELECTIONS.entry(summary.selection).summary,
        facts=_facts([record.config for record in records], summary, analysis),
        unseen_images={part: record.images[f"test/{part}"] for record in records for part in record.held_out},
        intervals=figures.intervals(summary, domains, {recipe: color.get(recipe, INK) for recipe in recipes}, baseline),
        curves=figures.curves(records, domains, color),
        risks=figures.risks(analysis, color),
        reviews=reviews,
        reviewed=list(next(iter(reviews.values()), {})),
        wrong_classes=figures.wrong_classes(analysis, color),
        most_wrong=figures.WRONG_CLASSES,
        confusions=_confusions(analysis),
        largest_table=LARGEST_TABLE,
        searched=[row for row in recipes.values() if row.search_s is not None],
        learned=by_recipe(records),
        provenance=provenance(records),
        mixed=differences(summary.mixed) if summary.mixed else "",
    )


def _gallery(path: Path) -> Any:
    """Images by kind and part. Each must be embedded in the file, so that the page loads nothing from other places."""
    gallery = read_json(path)
    for image in (image for parts in gallery.values() for images in parts.values() for image in images):
        if not image["image"].startswith("data:image/"):
            raise InputError(f"{path}: an image must be a data URL, got {image['image'][:60]!r}")
    return gallery


def _drawn(recipes: Mapping[str, SummaryRow], baseline: str | None, sign: int) -> list[str]:
    """The recipes in figures, in their order. With more recipes than colors: the baseline and the best averages."""
    by_rank = sorted(recipes, key=lambda recipe: (recipe != baseline, -sign * recipes[recipe].average.mean))
    drawn = set(by_rank[: len(PALETTE)])
    return [recipe for recipe in recipes if recipe in drawn]


def _facts(configs: Sequence[Mapping[str, Any]], summary: Summary, analysis: dict[str, Any]) -> dict[str, str]:
    """Facts about the comparison, by name."""
    config = configs[0]
    training, size = config["training"], config["data"]["image_size"]
    trained = trained_layers(config["backbone"])
    backbones = dict.fromkeys((each["backbone"]["name"], each["backbone"]["weights"]) for each in configs)
    augmentation = f"augmentation: {training['augment']}"
    domains = next(iter(summary.recipes.values())).domains
    return {
        "Data": f"{summary.data}: {len(domains)} unseen domains, {len(analysis['classes'])} classes",
        "Backbone": "; ".join(f"{name}, {trained}, weights: {weights}" for name, weights in backbones),
        "Image size": f"{size} × {size} pixels",
        "Training": f"{training['epochs']} epochs, batches of {training['batch_size']}, {augmentation}",
        "Seeds": ", ".join(map(str, summary.seeds)),
        **({} if summary.protocol is None else {"Unlabeled images": summary.protocol}),
    }


def _confusions(analysis: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """For each recipe, the rows of the confusion matrix if there are few classes, or else the most confused pairs."""
    classes = analysis["classes"]
    counts = {recipe: pooled(found["confusion"]) for recipe, found in analysis["recipes"].items()}
    if len(classes) <= LARGEST_TABLE:
        return {recipe: {"rows": heat_rows(table)} for recipe, table in counts.items()}
    return {recipe: {"pairs": confused_pairs(table, classes)} for recipe, table in counts.items()}
