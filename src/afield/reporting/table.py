"""The table of a comparison as Markdown, LaTeX or CSV."""

import csv
import io
from collections.abc import Iterator, Sequence

from afield.evaluation import METRICS, Metric
from afield.records import Estimate, Summary


def markdown(summary: Summary) -> str:
    """A Markdown table with mean, deviation and interval of each domain, the average and the differences."""
    header, rows = _cells(summary, "±", "−")
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def latex(summary: Summary) -> str:
    """A LaTeX table of the package booktabs, with the best value of each column in bold."""
    header, rows = _cells(summary, r"$\pm$", "$-$")
    metric = METRICS[summary.metric]
    columns = [*next(iter(summary.recipes.values())).domains, None]
    for column, domain in enumerate(columns, start=1):
        values = [row.average.mean if domain is None else row.domains[domain].mean for row in summary.recipes.values()]
        best = max(values, key=lambda value: metric.sign * value)
        for cells, value in zip(rows, values, strict=True):
            if value == best:
                cells[column] = rf"\textbf{{{cells[column]}}}"
    body = [" & ".join(map(_escaped, header)), *(" & ".join([_escaped(name), *cells]) for name, *cells in rows)]
    begin = rf"\begin{{tabular}}{{l{'c' * (len(header) - 1)}}}"
    first, *others = (f"{line} \\\\" for line in body)
    return "\n".join([begin, r"\toprule", first, r"\midrule", *others, r"\bottomrule", r"\end{tabular}"]) + "\n"


def comma_separated(summary: Summary) -> str:
    """CSV with a row for each recipe and column of the table: n, mean, sd and the ends of the interval, not rounded."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("recipe", "column", "metric", "n", "mean", "sd", "ci95_low", "ci95_high"))
    for recipe, row in summary.recipes.items():
        found = {**row.domains, "average": row.average, **_differences(summary, recipe)}
        for column, value in found.items():
            low, high = value.ci95 or ("", "")
            writer.writerow((recipe, column, summary.metric, value.n, value.mean, value.sd, low, high))
    return text.getvalue()


FORMATS = {"markdown": markdown, "latex": latex, "csv": comma_separated}
"""Functions from a summary to text, by name."""


def _differences(summary: Summary, recipe: str) -> dict[str, Estimate]:
    row = summary.recipes[recipe]
    found = {"these domains": row.vs_erm, "new place": row.at_new_place}
    if recipe == summary.baseline:
        return {}
    return {f"{summary.baseline}, {name}": value for name, value in found.items() if value is not None}


def _cells(summary: Summary, plus_minus: str, minus: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the table, as text."""
    metric = METRICS[summary.metric]
    differences = dict.fromkeys(name for recipe in summary.recipes for name in _differences(summary, recipe))
    domains = list(next(iter(summary.recipes.values())).domains)
    header = ["recipe", *domains, "average", *(f"{minus} {name}" for name in differences)]
    rows = []
    for recipe, row in summary.recipes.items():
        found = _differences(summary, recipe)
        cells = [_text(value, metric, plus_minus) for value in (*row.domains.values(), row.average)]
        cells += [_text(found[name], metric, plus_minus, "+") if name in found else "" for name in differences]
        rows.append([recipe, *cells])
    return header, rows


def _text(value: Estimate, metric: Metric, plus_minus: str, sign: str = "") -> str:
    deviation = "" if value.sd is None else f" {plus_minus} {metric.text(value.sd)}"
    ends: Sequence[float] = value.ci95 or ()
    interval = f" [{', '.join(metric.text(end, sign) for end in ends)}]" if ends else ""
    return f"{metric.text(value.mean, sign)}{deviation}{interval}"


def _escaped(text: str) -> str:
    """A name for LaTeX."""
    return "".join(_special(text))


def _special(text: str) -> Iterator[str]:
    for character in text:
        yield rf"\{character}" if character in "&%#_{}" else character
