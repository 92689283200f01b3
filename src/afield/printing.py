"""The tables and lines that commands print. Does not import torch, which some commands do without."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from afield.amounts import duration
from afield.evaluation import METRICS, Metric, first_best, shown_domains, shown_domains_note
from afield.records import Estimate, Record, Summary
from afield.registry import Entry

if TYPE_CHECKING:
    from afield.comparison.labeling.summary import LabelingSummary
    from afield.comparison.sweep.summary import SweepSummary
    from afield.deploy.adapt import Adapted
    from afield.deploy.export import Exported
    from afield.deploy.forecast import Expected
    from afield.deploy.prediction_file import Written
    from afield.labeling.label_file import Row


def comparison_table(summary: Summary) -> Table:
    """The table of a summary, with a row for each recipe.

    The columns are the unseen domains, their average, the difference to the baseline on these domains and at a new
    place, and, if augmentations were learned, the duration of learning them in seconds.
    """
    recipes = summary.recipes
    domains, metric = shown_domains(summary), METRICS[summary.metric]
    rule = "ORACLE, an upper bound" if summary.selection == "oracle" else f"selection: {summary.selection}"
    count = len(summary.seeds)
    title = f"{summary.data}: {metric.title} on unseen domains{metric.unit}, mean [95 % interval], n = {count} ({rule})"
    searched = any(row.search_s is not None for row in recipes.values())
    notes = [note for note in (summary.protocol, shown_domains_note(summary)) if note]
    table = Table("recipe", title=escape(title), caption="\n".join(notes) or None)
    places = any(row.at_new_place for row in recipes.values())
    versus = [f"vs {summary.baseline}, these domains", *([f"vs {summary.baseline}, new place"] if places else [])]
    average = "worst" if metric.by_domain else "average"
    for name in (*domains, average, *versus, *(["search, s"] if searched else [])):
        table.add_column(escape(name), justify="right")
    for name, row in recipes.items():
        mark = "[bold]" if name == summary.recommended else ""
        cells = [
            interval(value, metric=metric) for value in (*(row.domains[domain] for domain in domains), row.average)
        ]
        differences = (row.vs_erm, row.at_new_place) if places else (row.vs_erm,)
        cells += [interval(found, "+", metric) if found else "" for found in differences]
        if searched:
            cells.append(f"{row.search_s:.1f}" if row.search_s is not None else "–")
        table.add_row(f"{mark}{escape(name)}", *map(escape, cells))
    return table


def sweep_table(summary: SweepSummary) -> Table:
    """The results of a sweep: defaults, selected settings and the gain of each recipe."""
    metric = METRICS[summary.metric]
    rule = "ORACLE, an upper bound" if summary.selection == "oracle" else f"selection: {summary.selection}"
    count = len(summary.seeds)
    title = f"{summary.data}: {metric.title} on unseen domains{metric.unit}, mean [95 % interval], n = {count} ({rule})"
    table = Table("recipe", title=escape(title))
    for name in ("defaults", "selected settings", "gain, these domains", "gain, new place"):
        table.add_column(name, justify="right")
    for name, row in summary.recipes.items():
        values = (interval(row.default, metric=metric), interval(row.selected, metric=metric))
        gains = [interval(found, "+", metric) if found else "" for found in (row.gain, row.gain_at_new_place)]
        table.add_row(escape(name), *map(escape, (*values, *gains)))
    return table


def sweep_lines(summary: SweepSummary) -> list[str]:
    """The settings of each recipe to train on all domains, as options of `afield train`."""
    lines = []
    for name, row in summary.recipes.items():
        settings = [shlex.quote(f"{setting}={json.dumps(value)}") for setting, value in row.settings.items()]
        chosen = f" --set {' '.join(settings)}" if settings else ""
        lines.append(f"to train on all domains: --recipe {shlex.quote(name)}{chosen}")
    return lines


def labeling_table(summary: LabelingSummary) -> Table:
    """The table of a comparison of strategies: average accuracy by number of labels, and the difference to random."""
    from afield.comparison.labeling.study import BASELINE  # imports torch, which other tables need not
    from afield.comparison.labeling.summary import AVERAGE

    title = f"{summary.data}: accuracy at a new place by number of labels, %, average over domains"
    caption = "in brackets: difference to random, paired over seeds; bold if its 95 % interval excludes 0"
    table = Table("strategy", title=escape(f"{title}, n = {summary.repetitions}"), caption=caption)
    for budget in (0, *summary.budgets):
        table.add_column(f"{budget} labels", justify="right")
    for name, row in summary.rows.items():
        cells = []
        for count, cell in row[AVERAGE].items():
            difference = f" ({100 * cell.vs_random.mean:+.1f})" if name != BASELINE and count != "0" else ""
            mark = f"[bold]{difference}[/]" if cell.significant else difference
            cells.append(f"{100 * cell.accuracy.mean:.1f}{mark}")
        table.add_row(f"[bold]{name}" if name == summary.recommended else name, *cells)
    return table


def trained_lines(record: Record, name: str, folder: Path) -> list[str]:
    """The result of a training by the metric of this name, and how the probabilities of the model were measured."""
    from afield.deploy.confidence import Confidence  # imports torch, which tables need not

    metric, confidence = METRICS[name], Confidence.load(folder)
    best = record.epochs[first_best(name, [epoch.validation for epoch in record.epochs])]
    value = f"{metric.title} {metric.text(best.validation[name])}{' %' if metric.percent else ''}"
    lines = [f"{record.recipe}: validation {value}; model in {folder}"]
    if confidence.parts:
        lines.append(f"temperature of its probabilities: {confidence.temperature:.2f}, fitted on {confidence.origin}")
    return lines


def learned_lines(record: Record) -> list[str]:
    """The results of a run with a learned augmentation: accuracy, measures of the augmentor, and collapses."""
    best, learned = max(epoch.validation["accuracy"] for epoch in record.epochs), record.learned
    assert learned is not None
    from afield.reporting.learned import in_figures  # imports matplotlib

    figures = in_figures([learned.measures])
    return [
        f"{record.recipe}: validation accuracy {100 * best:.1f} %; {learned.search_s:.1f} s of search",
        f"on validation images: {', '.join(f'{title} {figure}' for title, figure in figures.items())}",
        *(f"collapsed ({name}): {text}" for name, text in learned.collapses.items()),
    ]


def plan_text(plan: dict[str, Any]) -> str:
    """The output of a dry run: a line for each run, the number of remaining runs, and their estimated time."""
    runs = plan["runs"]
    left = sum(run["state"] != "done" for run in runs)
    lines = [f"{run['state']:6} {run['run']} {run['label']}" for run in runs]
    lines.append(f"{left} of {len(runs)} runs are left" + (f", about {duration(plan['run_s'])} each" if left else ""))
    if plan["later"]:
        lines.append(f"{plan['later']} more runs depend on their results")
    for row in plan.get("backbones", ()):
        scores = f"LogME {row['log_me']:.3f}, H-score {row['h_score']:.2f}"
        lines.append(f"{row['backbone']}: {scores}; higher is better ({duration(row['seconds'])} of features)")
    if plan["features_s"]:
        lines.append(f"features of the frozen backbone: about {duration(plan['features_s'])}, once")
    if left:
        where = "on this machine" + (f", {plan['at_once']} at a time" if plan["at_once"] > 1 else "")
        lines.append(f"total: about {duration(plan['total_s'])} {where}; estimated from {plan['source']}")
    return "\n".join(lines)


CLASSES_SHOWN = 20


def evaluation_tables(result: dict[str, Any]) -> list[Table]:
    """Tables of an evaluation: the chosen metric by domain, all metrics over all images, and the results of each class.

    Results with test-time augmentation have separate columns. At most `CLASSES_SHOWN` classes are shown, those with the
    lowest recall.
    """
    kinds = _kinds(result)
    groups, count = result["groups"], result["all"]["n"]
    of = f"{count:,} images" if groups == count else f"{groups:,} groups of {count:,} images"
    overall = Table("metric", title=f"all images; [95 % interval, bootstrap over {of}]")
    for kind in kinds:
        overall.add_column(f"value{kind}", justify="right")
    for name in METRICS.names:
        title = f"{METRICS[name].title}{METRICS[name].unit}"
        overall.add_row(title, *(_measured(found["all"], name) for found in kinds.values()))
    return [evaluation_table(result), overall, _classes_table(result)]


def evaluation_table(result: dict[str, Any]) -> Table:
    """The chosen metric by domain, and the images that are left to the model. Without a choice it is the accuracy."""
    name, kinds, review = result.get("metric", "accuracy"), _kinds(result), result.get("review")
    metric, table = METRICS[name], Table("domain", title=escape(result["data"]))
    left = ("left to the model, %", "accuracy there, %") if review else ()
    for title in ("images", *(f"{metric.title}{kind}{metric.unit}" for kind in kinds), *left):
        table.add_column(title, justify="right")
    lines = [(*found["domains"].items(), ("all", found["all"])) for found in kinds.values()]
    reviews = [*review["domains"].values(), review["all"]] if review else [{}] * len(lines[0])
    for shares, *line in zip(reviews, *lines, strict=True):
        domain, counted = line[0]
        cells = [_measured(row, name) for _, row in line]
        cells += ["–" if value is None else f"{100 * value:.2f}" for value in shares.values()]
        table.add_row(escape(domain), f"{counted['n']:,}", *cells)
    if review:
        table.caption = f"left to the model: probability of at least {review['threshold']:.4g}"
    return table


def _kinds(result: dict[str, Any]) -> dict[str, Any]:
    """The results by the ending of their titles: without and with test-time augmentation."""
    return {"": result, **({f", tta {result['tta']['kind']}": result["tta"]} if "tta" in result else {})}


def _measured(row: dict[str, Any], name: str) -> str:
    """A metric of an evaluation with its interval, as text."""
    ends = row.get("ci95", {}).get(name)
    return escape(interval(Estimate(row[name], None, row["n"], ends), metric=METRICS[name]))


def _classes_table(result: dict[str, Any]) -> Table:
    """Precision and recall of each class with images, and its recall in each domain, in percent."""
    rows = [i for i, recall in enumerate(result["recall"]) if recall is not None]
    rows = sorted(rows, key=lambda i: result["recall"][i])
    by_domain = result["recall_by_domain"] if len(result["recall_by_domain"]) > 1 else {}
    lowest = f", the {CLASSES_SHOWN} with the lowest recall" if len(rows) > CLASSES_SHOWN else ""
    table = Table("class", title=f"classes{lowest}")
    columns = {"precision, %": result["precision"], "recall, %": result["recall"]}
    columns |= {f"recall in {name}, %": values for name, values in by_domain.items()}
    for name in columns:
        table.add_column(escape(name), justify="right")
    for i in rows[:CLASSES_SHOWN]:
        cells = ["–" if values[i] is None else f"{100 * values[i]:.1f}" for values in columns.values()]
        table.add_row(escape(result["classes"][i]), *cells)
    return table


def written_lines(written: Written) -> list[str]:
    """The rows of a file of predictions, the images for review, and where the threshold was measured."""
    kept = f", {written.kept:,} of them were already there" if written.kept else ""
    lines = [f"{written.path}: {written.rows:,} rows{kept}"]
    if written.threshold is None:
        return [*lines, "no review flags: the confidence of this model was not measured; --threshold sets one"]
    lines.append(f"review: {written.review:,} images with a probability below {written.threshold:.4g}")
    return lines + [f"at or above it: {written.measured}"] * bool(written.measured)


def exported_lines(exported: Exported) -> list[str]:
    """The exported file, and how much it differs from the model."""
    checked = f"largest difference of a probability to the model {exported.largest_difference:.1g}"
    lines = [f"{exported.path}: {checked}, on {exported.images:,} images"]
    return lines if exported.int8 is None else [*lines, str(exported.int8)]


def adapted_lines(adapted: Adapted) -> list[str]:
    """The adaptation method with its reason, and the effect of labels, as text."""
    done = "not adapted" if adapted.method == "none" else f"adapted by {adapted.method}"
    lines = [f"{done}, {adapted.images:,} images: {adapted.reason}"]
    if adapted.labels:
        fitted = "head refitted to" if adapted.tune == "head" else "whole network fine-tuned on"
        lines.append(f"{fitted} {adapted.labels:,} labels{_gain(adapted)}")
    return lines


def _gain(adapted: Adapted) -> str:
    """The accuracy on the audit sample before and after."""
    if adapted.before is None or adapted.after is None:
        return "; no labels of an audit sample measure it"
    before, after = (interval(Estimate(f.value, None, f.n, f.ci95)) for f in (adapted.before, adapted.after))
    return f"; accuracy on {adapted.after.n:,} audit images, % [95 % interval]: {before} before, {after} after"


def expected_json(expected: Expected) -> dict[str, Any]:
    """The forecast, JSON-serializable."""
    return {**dataclasses.asdict(expected), "unusual": [str(path) for path in expected.unusual]}


def audit_table(result: dict[str, Any]) -> Table:
    """A table of the metrics on an audit sample, with intervals and the number of labels needed to halve them."""
    count = result["accuracy"]["n"]
    none = f"; {result['none_of_these']} more show none of the classes" if result["none_of_these"] else ""
    table = Table(title=escape(f"{result['data']}: audit sample of {count} images, % [95 % interval]{none}"))
    for column in ("measure", "value", "images"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    measures = {"accuracy": result["accuracy"], "balanced accuracy": result["balanced_accuracy"]}
    for name, found in {**measures, **{f"recall of {name}": each for name, each in result["recall"].items()}}.items():
        shown = interval(Estimate(found["value"], None, found["n"], tuple(found["ci95"])))
        table.add_row(escape(name), escape(shown), f"{found['n']:,}")
    table.caption = f"{result['to_halve']:,} more audit labels would halve the interval of the accuracy"
    return table


def label_text(rows: Sequence[Row], file: Path) -> str:
    """The number of labels in a label file, as text."""
    counts = [
        f"{sum(bool(row.label) for row in part)} of {len(part)} {purpose} images"
        for purpose in ("audit", "chosen")
        for part in [[row for row in rows if row.purpose == purpose]]
    ]
    return f"{file}: labels for {' and '.join(counts)}"


def entries_table(kind: str, entries: list[Entry[Any]]) -> Table:
    """A table of the entries of a registry, with the installed packages that some of them come from."""
    table = Table(title=kind, title_justify="left", show_header=False, box=None)
    packages = any(entry.package for entry in entries)
    for entry in entries:
        cells = (escape(entry.summary), f"[dim]{escape(entry.reference)}", *[escape(entry.package)] * packages)
        table.add_row(f"[bold]{escape(entry.name)}", *cells)
    return table


def interval(value: Estimate, sign: str = "", metric: Metric = METRICS["accuracy"]) -> str:
    """A mean and its interval in the unit of the metric, as text: ``71.9 [70.2, 73.6]``."""
    mean = metric.text(value.mean, sign)
    if value.ci95 is None:
        return mean
    low, high = (metric.text(end, sign) for end in value.ci95)
    return f"{mean} [{low}, {high}]"
