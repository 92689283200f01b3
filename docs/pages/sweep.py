"""Sweeps: the declared search spaces, the measured gain over the defaults, and the ranking of backbones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from afield.amounts import duration
from afield.comparison.sweep.page import in_words
from afield.comparison.sweep.space import settings_of_recipe
from afield.comparison.sweep.summary import SweepRow, SweepSummary, read_sweep
from afield.recipes import RECIPES
from afield.records import read_json
from afield.settings import TrainConfig
from pages.tables import ROOT, filled, interval, study, table

FOLDER = ROOT / "results" / "sweep"


def space_table() -> str:
    """The settings with a declared distribution: those of training, and those of each recipe of its own."""
    shared = TrainConfig()
    training = [row for row in _rows("erm", shared) if "." not in row[0]]
    rows = [("every recipe", *row) for row in training]
    for entry in RECIPES:
        rows += [(f"`{entry.name}`", *row) for row in _rows(entry.name, shared) if "." in row[0]]
    return table(("recipe", "setting", "default", "distribution"), rows)


def _rows(name: str, shared: TrainConfig) -> Iterator[tuple[str, str, str]]:
    """Name, default and distribution of each setting of a recipe that is searched."""
    for setting, each in settings_of_recipe(RECIPES[name], shared).items():
        if each.distribution is not None:
            default = "of the preset" if "." not in setting else f"{each.default:.4g}"
            yield f"`{setting}`", default, f"`{each.distribution}`"


def gains_table(summary: SweepSummary) -> str:
    """Accuracy of defaults and selected settings, and the gain."""
    rows = []
    for name, row in summary.recipes.items():
        place = row.gain_at_new_place
        assert place is not None
        assert place.ci95 is not None
        low, high = place.ci95
        at_new = f"[{100 * low:+.1f}, {100 * high:+.1f}], better on {place.better_on} of {place.n}"
        figures = (interval(row.default.as_dict()), interval(row.selected.as_dict()), interval(row.gain.as_dict(), "+"))
        rows.append((f"`{name}`", *figures, at_new))
    return table(("recipe", "defaults", "selected", "gain, these domains", "gain, new place"), rows)


def gains_text(summary: SweepSummary) -> str:
    """Which gains are significant, in sentences."""
    told = []
    for name, row in summary.recipes.items():
        pairs = [(found.score or 0.0, found.default_score or 0.0) for found in row.domains.values()]
        expected = sum(score - default for score, default in pairs) / len(pairs)
        verdict = "significant" if row.gain.excludes_zero else "not significant"
        told.append(
            f"for `{name}`, {100 * expected:+.1f} points on validation images became {100 * row.gain.mean:+.1f} on the "
            f"unseen domains ({verdict} there)"
        )
    return f"What the selection promised and what the unseen domain gave: {'; '.join(told)}."


def selected_table(summary: SweepSummary) -> str:
    """The selected settings of each recipe and unseen domain."""
    rows = [
        (
            f"`{name}`",
            domain,
            in_words(found.settings),
            f"{100 * (found.default_score or 0):.1f} → {100 * (found.score or 0):.1f}",
            f"{100 * found.default.mean:.1f} → {100 * found.selected.mean:.1f}",
        )
        for name, row in summary.recipes.items()
        for domain, found in row.domains.items()
    ]
    return table(("recipe", "unseen domain", "selected settings", "validation", "unseen"), rows)


def importance_table(summary: SweepSummary) -> str:
    """The rank correlation between each setting and the selection, by recipe."""
    settings = list(dict.fromkeys(name for row in summary.recipes.values() for name in row.space))
    rows = [(f"`{name}`", *(_importance(row, name) for row in summary.recipes.values())) for name in settings]
    return table(("setting", *(f"`{name}`" for name in summary.recipes)), rows)


def _importance(row: SweepRow, setting: str) -> str:
    found = row.space.get(setting)
    return "–" if found is None or found.importance is None else f"{found.importance:+.2f}"


def cost_text(cost: Mapping[str, Any], summary: SweepSummary) -> str:
    """What the sweep cost and where it ran, in sentences."""
    where = "; ".join(f"{name.lower()}: {value}" for name, value in summary.provenance.items())
    return (
        f"{cost['runs']} runs took {duration(cost['cpu_s'])} of CPU time in two processes, with the features of the "
        f"backbone in the cache; {cost['note']}. {where[:1].upper()}{where[1:]}."
    )


def backbones_table(found: Mapping[str, Any]) -> str:
    """Accuracy on unseen domains and scores of each backbone, the most accurate first."""
    rows = [
        (
            f"`{name.partition(',')[0]}`,{name.partition(',')[2]}",
            interval(row["average"]),
            *(f"{_mean_score(row, score):.3f}" for score in ("log_me", "h_score")),
        )
        for name, row in sorted(found["backbones"].items(), key=lambda item: -item[1]["average"]["mean"])
    ]
    return table(("backbone", "accuracy on unseen domains", "LogME", "H-score"), rows)


def _mean_score(row: Mapping[str, Any], score: str) -> float:
    values = [scores[score] for scores in row["scores"].values()]
    return float(sum(values) / len(values))


def correlations_table(found: Mapping[str, Any]) -> str:
    """Rank correlations of scores and accuracy, by new place."""
    names = {"log_me": "LogME", "h_score": "H-score"}
    rows = [
        (f"{names[score]}, {which}", *(f"{value:+.2f}" for value in places.values()))
        for key, which in (("rank_correlation", "all"), ("rank_correlation_pretrained", "pretrained"))
        for score, places in found[key].items()
    ]
    places = found["rank_correlation"]["log_me"]
    return table(("score, backbones", *places), rows)


def sweep_page() -> str:
    """The page."""
    summary, backbones, cost = read_sweep(FOLDER), study("backbones"), read_json(FOLDER / "cost.json")
    parts = {
        "space": space_table(),
        "draws": str(summary.draws),
        "seeds": str(len(summary.seeds)),
        "gains": gains_table(summary),
        "gains_text": gains_text(summary),
        "selected": selected_table(summary),
        "importance": importance_table(summary),
        "cost": cost_text(cost, summary),
        "command": cost["command"],
        "data": cost["data"],
        "backbones": backbones_table(backbones),
        "images": f"{backbones['images']:,}",
        "size": str(backbones["image_size"]),
        "backbone_seeds": str(backbones["seeds"]),
        "correlations": correlations_table(backbones),
    }
    return filled("sweep.md.in", parts)
