"""Make the tables of README and docs from registries and committed records; ``--check`` says if any is stale."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from afield.catalogue import REGISTRIES

ROOT = Path(__file__).parent.parent


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def registry_table(kind: str) -> str:
    """Name, summary and reference of each entry of a registry."""
    rows = [(f"`{entry.name}`", entry.summary, entry.reference) for entry in REGISTRIES[kind]]
    return table(("name", "what it is", "reference"), rows)


def between(text: str, mark: str, content: str) -> str:
    """Put content between ``<!-- mark: ... -->`` and ``<!-- /mark -->``."""
    start = text.index("-->", text.index(f"<!-- {mark}:")) + 4
    return text[:start] + content + text[text.index(f"<!-- /{mark} -->") :]


def interval(value: dict[str, Any], sign: str = "") -> str:
    """``71.9 ± 0.5 [70.2, 73.6]``: mean, sample deviation, 95 % interval, as percentages."""
    deviation = f" ± {100 * value['sd']:.1f}" if value.get("sd") is not None else ""
    span = ", ".join(f"{100 * end:{sign}.1f}" for end in value["ci95"])
    return f"{100 * value['mean']:{sign}.1f}{deviation} [{span}]"


def result_section(folder: Path) -> str:
    """One comparison: what was run, the table, where it was run."""
    about = json.loads((folder / "about.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
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
    return "# Results\n\nMade by `docs/make_tables.py` from the records under `results/`.\n\n" + "\n".join(sections)


def pages() -> dict[Path, str]:
    """Each file that holds something generated, as it should read."""
    readme, parts = ROOT / "README.md", ROOT / "docs" / "parts.md"
    kinds = [kind for kind in REGISTRIES if kind != "recipes"]
    sections = [f"## {kind.capitalize()}\n\n{registry_table(kind)}" for kind in kinds]
    return {
        readme: between(readme.read_text(), "recipes", registry_table("recipes")),
        parts: "# Parts\n\nMade by `docs/make_tables.py` from the registries.\n\n" + "\n".join(sections),
        ROOT / "docs" / "results.md": results_page(),
    }


def main() -> None:
    """Write the pages, or check them."""
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    if "--check" in sys.argv:
        sys.exit(f"stale: {', '.join(path.name for path in stale)}; run python docs/make_tables.py" if stale else 0)
    for path in stale:
        path.write_text(pages()[path])
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
