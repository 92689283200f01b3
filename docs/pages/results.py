"""Committed comparisons."""

from __future__ import annotations

from pathlib import Path

from afield.records import PlaceDifference, read_compared, read_json, read_summary
from afield.reporting.provenance import trained_layers
from pages.tables import ROOT, interval, table

AVERAGES = "pacs-algorithms-frozen"
"""The comparison that README shows."""


def at_new_place(found: PlaceDifference) -> str:
    """The interval at a new place, and the number of domains with a gain."""
    assert found.ci95 is not None
    low, high = found.ci95
    return f"[{100 * low:+.1f}, {100 * high:+.1f}], better on {found.better_on} of {found.n}"


def averages_table() -> str:
    """Average accuracy of each recipe of one comparison and its difference to `erm`, best first."""
    recipes = read_summary(ROOT / "results" / AVERAGES / "summary.json").recipes
    rows = [
        (
            f"`{name}`",
            interval(row.average.as_dict()),
            "baseline" if row.vs_erm is None or name == "erm" else interval(row.vs_erm.as_dict(), "+"),
            "" if row.at_new_place is None or name == "erm" else at_new_place(row.at_new_place),
        )
        for name, row in sorted(recipes.items(), key=lambda item: -item[1].average.mean)
    ]
    return table(("recipe", "average over unseen domains", "− `erm`, these domains", "− `erm`, new place"), rows)


def result_section(folder: Path) -> str:
    """One comparison: its command, its table, and the machine and versions that made it."""
    about = read_json(folder / "about.json")
    summary, records = read_summary(folder / "summary.json"), read_compared(folder)
    domains = list(next(iter(summary.recipes.values())).domains)
    rows = [
        (
            f"**{name}**" if name == summary.recommended else name,
            *(interval(row.domains[domain].as_dict()) for domain in domains),
            interval(row.average.as_dict()),
            interval(row.vs_erm.as_dict(), "+") if row.vs_erm and name != "erm" else "",
            at_new_place(row.at_new_place) if row.at_new_place and name != "erm" else "",
        )
        for name, row in summary.recipes.items()
    ]
    first = records[0]
    config, hardware, versions = first.config, first.hardware, first.versions
    training = config["training"]
    commits = ", ".join(sorted({str(record.commit) for record in records}))
    seconds = sum(record.duration_s for record in records)
    return "\n".join(
        [
            f"## {about['title']}",
            "",
            about["note"],
            "",
            f"```sh\n{about['command']}\n```",
            "",
            "Accuracy on unseen domains in %: mean ± standard deviation [95 % confidence interval] over "
            f"n = {len(summary.seeds)} seeds. Selection rule: `{summary.selection}`. "
            "The differences to `erm` are adjusted for the number of recipes "
            "([what they mean](recommendations.md)).",
            "",
            table(("recipe", *domains, "average", "− erm, these domains", "− erm, new place"), rows),
            f"Result: {summary.reason}.",
            "",
            f"{len(records)} runs; {seconds:.0f} s of training on {hardware['cores']} cores of {hardware['cpu']}"
            f"{' and ' + hardware['gpu'] if hardware['gpu'] else ''}. Images: {config['data']['image_size']} px. "
            f"Backbone: {config['backbone']['name']}, weights {config['backbone']['weights']}, "
            f"{trained_layers(config['backbone'])}. Training: {training['epochs']} epochs, "
            f"optimizer {training['optimizer']}, learning rate {training['learning_rate']:g}, {training['schedule']} "
            f"schedule, batch size {training['batch_size']}. Versions: torch {versions['torch']}, "
            f"timm {versions['timm']}, Python {versions['python']}, commit {commits}. "
            f"Records: `results/{folder.name}/`; `afield report results/{folder.name}` writes the HTML report.",
            "",
        ]
    )


def results_page() -> str:
    """All committed comparisons."""
    sections = [result_section(path.parent) for path in sorted((ROOT / "results").glob("*/about.json"))]
    head = (
        "# Results\n\n`docs/make_tables.py` makes this page from the records under `results/`. "
        "[reproduction.md](reproduction.md) has the tables of the three papers.\n\n"
    )
    return head + "\n".join(sections)
