"""The page of a comparison of strategies."""

from pathlib import Path

from afield.comparison.labeling.study import BASELINE
from afield.comparison.labeling.summary import AVERAGE, LabelingSummary, Rows
from afield.records import decode, read_json
from afield.reporting.document import Document, Figure, Section, Table, said
from afield.reporting.plots import curves_with_intervals
from afield.reporting.provenance import listing

METHOD = (
    "Each domain in turn is the new place. A head on frozen features starts from images of the other domains. Images "
    "to label are chosen in one half of the new place, in rounds up to each number of labels, and the head is refitted "
    "after each round. The accuracy is measured on the other half."
)
READING = (
    "In %: mean ± standard deviation [95 % interval] over the seeds, each with its own halves; differences are in "
    "points and paired by seed."
)


def labeling_document(summary: LabelingSummary) -> Document:
    """The page: accuracies and curves on average over domains, and differences to random by domain."""
    budgets, rows, last = list(map(str, (0, *summary.budgets))), summary.rows, str(summary.budgets[-1])
    domains = [name for name in rows[BASELINE] if name != AVERAGE]
    accuracies = [
        {"strategy": name, **{f"{b} labels": said(row[AVERAGE][b].accuracy) for b in budgets}}
        for name, row in rows.items()
    ]
    others = {name: row for name, row in rows.items() if name != BASELINE}
    differences = [
        {"strategy": name, **{f"{b} labels": said(row[AVERAGE][b].vs_random, "+") for b in budgets[1:]}}
        for name, row in others.items()
    ]
    by_domain = [
        {"strategy": name, **{domain: said(row[domain][last].vs_random, "+") for domain in domains}}
        for name, row in others.items()
    ]
    curves = Figure("curves", "Average accuracy by number of labels", labeling_curves(rows))
    sections = (
        Section("Average over the domains", (READING,), (Table.of("Accuracy", accuracies),), (curves,)),
        Section("Difference to random", (), (Table.of("Average over the domains", differences),)),
        Section("Each domain", (), (Table.of(f"Difference to random with {last} labels", by_domain),)),
    )
    where = summary.provenance
    facts = {
        "Backbone": summary.backbone,
        "Seeds": str(summary.repetitions),
        "Commit": where["commit"] or "not a source checkout",
        "Hardware": listing(where["hardware"]),
        "Versions": listing(where["versions"]),
    }
    recommended = f"Recommended: {summary.recommended or 'none'}; {summary.reason}."
    return Document(f"Labeling strategies on {summary.data}", (recommended, METHOD), sections, facts)


def labeling_curves(rows: Rows) -> str:
    """The figure of the average accuracy by number of labels."""
    curves = {
        name: {float(budget): cell.accuracy for budget, cell in row[AVERAGE].items() if budget != "0"}
        for name, row in rows.items()
    }
    return curves_with_intervals("labeling", "accuracy by labels", curves, x="labels", y="accuracy, %", log=True)


def render_labeling(folder: Path) -> Path:
    """Write the page of a folder from its ``summary.json``; returns its path. Raises `InputError` if it is damaged."""
    file = folder / "summary.json"
    return labeling_document(decode(LabelingSummary, read_json(file), f"{file}:")).write(folder)
