"""The page of a sweep."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afield.comparison.sweep.summary import SweepRow, SweepSummary, read_sweep
from afield.evaluation import METRICS, SELECTIONS, Metric
from afield.records import Estimate
from afield.reporting.document import Document, Figure, Section, Table, said
from afield.reporting.plots import dots_with_intervals

DEFAULTS = "the defaults"


def render_sweep(folder: Path) -> Path:
    """Write ``report.html`` to the folder of a sweep, from its ``sweep.json``; returns its path."""
    return sweep_document(read_sweep(folder)).write(folder)


def sweep_document(summary: SweepSummary) -> Document:
    """The page: the gain of each recipe, selected settings by domain, and the settings that mattered."""
    metric, rows = METRICS[summary.metric], summary.recipes
    oracle = "ORACLE, an upper bound: " if summary.selection == "oracle" else ""
    results = [
        {
            "recipe": name,
            "defaults": in_figures(row.default, metric),
            "selected": in_figures(row.selected, metric),
            "gain, these domains": in_figures(row.gain, metric, "+"),
            "gain, new place": in_figures(row.gain_at_new_place, metric, "+"),
        }
        for name, row in rows.items()
    ]
    gains = Figure("gains", f"Gain over the defaults{metric.unit}", gains_figure(rows, metric))
    reading = (
        f"{metric.title[:1].upper()}{metric.title[1:]} on unseen domains{metric.unit}: mean ± standard deviation [95 % "
        f"interval] over {len(summary.seeds)} fresh seeds, the same for defaults and selected settings. The intervals "
        f"of the gains are adjusted for {len(rows)} recipes."
    )
    first = Section("Gain over the defaults", (reading,), (Table.of("Average over domains", results),), (gains,))
    return Document(
        f"Sweep on {summary.data}",
        (f"{oracle}{method(summary)}",),
        (first, *(recipe_section(name, row, metric) for name, row in rows.items())),
        summary.provenance,
    )


def method(summary: SweepSummary) -> str:
    """How the settings were selected, in sentences."""
    halved = ""
    if summary.halvings:
        halved = (
            f" The draws started with {1 / 2**summary.halvings:.3g} of their epochs; the better half went on with "
            "twice as many, until all epochs."
        )
    rule = SELECTIONS.entry(summary.selection).summary.removesuffix(".")
    return (
        f"Each recipe was trained with its defaults and {summary.draws - 1} random draws of its settings, with "
        f"{len(summary.trials)} seed{'s' if len(summary.trials) > 1 else ''} for each unseen domain.{halved} The draw "
        f"with the best value of the rule {summary.selection} ({rule[:1].lower()}{rule[1:]}) was selected for each "
        "unseen domain separately, and trained again with fresh seeds."
    )


def recipe_section(name: str, row: SweepRow, metric: Metric) -> Section:
    """The selected settings of a recipe by unseen domain, and its space."""
    domains = [
        {
            "unseen domain": domain,
            "settings": in_words(found.settings),
            "selection: defaults": "–" if found.default_score is None else metric.text(found.default_score),
            "selection: selected": "–" if found.score is None else metric.text(found.score),
            "defaults": in_figures(found.default, metric),
            "selected": in_figures(found.selected, metric),
        }
        for domain, found in row.domains.items()
    ]
    space = [
        {
            "setting": setting,
            "distribution": each.distribution,
            "default": in_words({"": each.default}),
            "rank correlation with the selection": "–" if each.importance is None else f"{each.importance:+.2f}",
        }
        for setting, each in row.space.items()
    ]
    train = f"Best mean over all domains, to train on all of them: {in_words(row.settings)}."
    tables = (Table.of("Selected for each unseen domain", domains), Table.of("Search space", space))
    return Section(name, (train,), tables)


def gains_figure(rows: Mapping[str, SweepRow], metric: Metric) -> str:
    """The gain of each recipe with its interval."""
    gains = {name: row.gain for name, row in rows.items()}
    label = f"selected − defaults{metric.unit}"
    return dots_with_intervals("gains", "Gain over the defaults", gains, x=label, line=0.0, metric=metric)


def in_figures(value: Estimate | None, metric: Metric, sign: str = "") -> str:
    """Mean, standard deviation and interval in the unit of the metric."""
    return said(value, sign, digits=1 if metric.percent else 3, factor=metric.factor)


def in_words(settings: Mapping[str, Any]) -> str:
    """Settings as text, without the names of the fields that contain them."""
    if not settings:
        return DEFAULTS
    return ", ".join(
        f"{name.removeprefix('algorithm_options.').removeprefix('loss_options.')} {value}".strip()
        for name, value in ((name, _number(value)) for name, value in settings.items())
    )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
