"""Markdown tables, templates, and number formats."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from afield.records import read_json, renamed

ROOT = Path(__file__).parents[2]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def not_run(command: str) -> str:
    """What a page shows in place of a table that has no record yet."""
    return f"Not run yet: `{command}`.\n"


def interval(value: dict[str, Any], sign: str = "") -> str:
    """``71.9 ± 0.5 [70.2, 73.6]``: mean, standard deviation and 95 % interval, as percentages, as far as they exist."""
    deviation = f" ± {100 * value['sd']:.1f}" if value.get("sd") is not None else ""
    span = " [{}]".format(", ".join(f"{100 * end:{sign}.1f}" for end in value["ci95"])) if value["ci95"] else ""
    return f"{100 * value['mean']:{sign}.1f}{deviation}{span}"


def between(text: str, **contents: str) -> str:
    """The text with each content between ``<!-- mark: ... -->`` and ``<!-- /mark -->``, by mark."""
    for mark, content in contents.items():
        start = text.index("-->", text.index(f"<!-- {mark}:")) + 4
        text = text[:start] + content + text[text.index(f"<!-- /{mark} -->") :]
    return text


def study(name: str) -> dict[str, Any]:
    """The summary of a study under ``results/``."""
    summary: dict[str, Any] = renamed(read_json(ROOT / "results" / name / "summary.json"))
    return summary


def filled(name: str, parts: Mapping[str, str]) -> str:
    """A template under ``docs/`` with each ``{{part}}`` filled in."""
    template = (ROOT / "docs" / name).read_text()
    for mark, text in parts.items():
        template = template.replace(f"{{{{{mark}}}}}", text.rstrip())
    return template
