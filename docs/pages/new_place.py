"""Adaptation to a new place: what helped, with how many images, and how far off forecasts are."""

from __future__ import annotations

from statistics import mean
from typing import Any

from afield.evaluation import estimate
from afield.records import Estimate, read_jsonl
from afield.reporting.plots import curves_with_intervals, standalone
from pages.tables import ROOT, filled, study, table

SHOWN = ("erm", "erm+standardize", "erm+standardize+t3a", "flattening+standardize+t3a", "erm+t3a", "erm, auto")


def points(value: float) -> str:
    """``+7.1``, of a fraction."""
    return f"{100 * value:+.1f}"


def rows_table(rows: dict[str, Any]) -> str:
    """Accuracy of each method by domain, its gain, the domains that gain, and the worst one."""
    header = (
        "recipe", *next(iter(rows.values()))["domains"], "average", "gain", "domains that gain", "worst domain"
    )  # fmt: skip
    return table(
        header,
        [
            (
                name,
                *(f"{100 * value:.1f}" for value in row["domains"].values()),
                f"{100 * row['average']:.1f}",
                f"{points(row['gain'])} [{', '.join(map(points, row['gain_ci95']))}]" if name != "erm" else "",
                f"{row['domains_that_gain']} of {len(row['domains'])}" if name != "erm" else "",
                points(row["worst_domain_gain"]) if name != "erm" else "",
            )
            for name, row in rows.items()
        ],
    )


def untouched_gain(row: str) -> str:
    """The gain of a row over erm with half of the domain, on the seeds that no default was chosen on."""
    cases = read_jsonl(ROOT / "results" / "adaptation" / "cases.jsonl")
    found = {(c["row"], c["domain"], c["seed"]): c["accuracy"] for c in cases if c.get("all") and "row" in c}
    pairs = [(domain, seed) for name, domain, seed in found if name == "erm" and seed > 0]
    seeds = sorted({seed for _, seed in pairs})
    gains = [mean(found[row, d, s] - found["erm", d, s] for d, s in pairs if s == seed) for seed in seeds]
    low, high = estimate(gains).ci95 or (0.0, 0.0)
    return f"{points(mean(gains))} [{points(low)}, {points(high)}] on the {len(seeds)} other seeds"


def curve_table(curves: dict[str, dict[str, float]]) -> str:
    """Accuracy of some methods by the number of images."""
    sizes = list(next(iter(curves.values())))
    header = ("recipe", *(f"{size} images" if size != "all" else "half of the domain" for size in sizes))
    return table(header, [(name, *(f"{100 * curves[name][size]:.1f}" for size in sizes)) for name in SHOWN])


def new_place_figure() -> str:
    """Accuracy against the number of unlabeled images."""
    curves = study("adaptation")["curves"]
    series = {
        name: {float(size): Estimate(value, None, 1, None) for size, value in curves[name].items() if size != "all"}
        for name in SHOWN
    }
    return standalone(
        curves_with_intervals(
            "new-place",
            "Accuracy on PACS against the number of unlabeled images of the new place",
            series,
            x="unlabeled images",
            y="accuracy, %",
            log=True,
        )
    )


def auto_table() -> str:
    """What `auto` chose on PACS and on the embedded digits, against the best fixed method."""
    lines = []
    for name in ("adaptation", "adaptation-digits"):
        found = study(name)
        for recipe, of in found["auto"].items():
            chosen = ", ".join(f"{method} {count}x" for method, count in of["chosen"].items())
            best = f"{of['best']} {points(of['best_gain'])}"
            lines.append((found["data"], recipe, points(of["gain"]), best, chosen))
    return table(("data", "model", "gain of `auto`", "best fixed method", "chosen"), lines)


def new_place_page() -> str:
    """The page."""
    found = study("adaptation")
    judged, digits = found["forecasts"]["all"], study("adaptation-digits")["forecasts"]["all"]
    errors = {**judged["errors"], "chosen by the training domains": judged["error"]}
    parts = {
        "untouched": untouched_gain("erm+standardize+t3a"),
        "seeds": str(found["seeds"]),
        "rows": rows_table(found["rows"]),
        "curve": curve_table(found["curves"]),
        "auto": auto_table(),
        "forecasts": table(("forecast", "error"), [(name, f"{100 * value:.1f}") for name, value in errors.items()]),
        "cases": str(judged["cases"]),
        "digits_error": f"{100 * digits['errors']['self_agreement']:.1f}",
        "digits_cases": str(digits["cases"]),
        "coverage": f"{100 * judged['coverage']:.0f}",
        "width": f"{100 * judged['width']:.0f}",
        "adapt_s": f"{found['seconds']['adapt_s']:.2f}",
        "forecast_s": f"{found['seconds']['forecast_s']:.2f}",
    }
    return filled("new_place.md.in", parts)
