"""Committed comparisons."""

from __future__ import annotations

from pathlib import Path

from afield.records import read_json, read_jsonl
from pages.tables import ROOT, interval, table


def result_section(folder: Path) -> str:
    """One comparison: what was run, the table, where it was run."""
    about = read_json(folder / "about.json")
    summary = read_json(folder / "summary.json")
    records = read_jsonl(folder / "records.jsonl")
    domains = list(next(iter(summary["recipes"].values()))["domains"])
    rows = [
        (
            f"**{name}**" if name == summary["recommended"] else name,
            *(interval(row["domains"][domain]) for domain in domains),
            interval(row["average"]),
            interval(row["vs_erm"], "+") if row["vs_erm"] and name != "erm" else "",
        )
        for name, row in summary["recipes"].items()
    ]
    first = records[0]
    config, hardware, versions = first["config"], first["hardware"], first["versions"]
    training = config["training"]
    commits = ", ".join(sorted({str(record["commit"]) for record in records}))
    seconds = sum(record["duration_s"] for record in records)
    return "\n".join(
        [
            f"## {about['title']}",
            "",
            about["note"],
            "",
            f"```sh\n{about['command']}\n```",
            "",
            "Accuracy on unseen domains in %: mean ± sample deviation [95 % interval], "
            f"n = {len(summary['seeds'])} seeds; selection: {summary['selection']}; "
            "the last column is paired over seeds.",
            "",
            table(("recipe", *domains, "average", "vs erm"), rows),
            f"Recommendation: {summary['reason']}.",
            "",
            f"{len(records)} runs, {seconds:.0f} s of training on {hardware['cores']} cores of {hardware['cpu']}"
            f"{' and ' + hardware['gpu'] if hardware['gpu'] else ''}; {config['data']['image_size']} px; "
            f"{config['backbone']['name']}, weights {config['backbone']['weights']}, "
            f"{'frozen' if config['backbone']['freeze'] else 'trained'}; {training['epochs']} epochs of "
            f"{training['optimizer']} at {training['learning_rate']:g} ({training['schedule']}), batch "
            f"{training['batch_size']}; torch {versions['torch']}, timm {versions['timm']}, "
            f"Python {versions['python']}; commit {commits}. "
            f"Records: `results/{folder.name}/`; [the whole page](../results/{folder.name}/report.html).",
            "",
        ]
    )


def results_page() -> str:
    """All committed comparisons."""
    sections = [result_section(path.parent) for path in sorted((ROOT / "results").glob("*/about.json"))]
    head = (
        "# Results\n\nMade by `docs/make_tables.py` from the records under `results/`. "
        "The papers, table by table: [reproduction.md](reproduction.md).\n\n"
    )
    return head + "\n".join(sections)
