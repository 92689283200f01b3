"""Learning loss on CIFAR-10: our study, and accuracies that others measured at the size of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scipy import stats

from afield.evaluation import estimate
from afield.records import Estimate, read_json
from afield.reporting.plots import curves_with_intervals, standalone
from pages.tables import ROOT, study, table

OURS = "learning_loss"
STEP = 1_000
"""Labels that a cycle adds in the paper, and elsewhere."""


def learning_loss_figure() -> str:
    """Test accuracy by number of labels: random sampling and learning loss in our study, and the curves elsewhere."""
    found = study("learning-loss")["rows"]
    series = {
        f"{name}, small": {float(count): _mean(cell["accuracy"]["mean"]) for count, cell in found[name].items()}
        for name in ("random", OURS)
    }
    for row in _elsewhere()["rows"]:
        points = enumerate(_points(row), 1)
        series[f"{row['strategy']}, {row['source']}"] = {STEP * float(i): _mean(point.mean) for i, point in points}
    title = "Test accuracy on CIFAR-10 by number of labels"
    figure = curves_with_intervals("learning-loss-elsewhere", title, series, x="labels", y="accuracy, %")
    return standalone(figure)


def accuracies() -> str:
    """Accuracies with 1,000, 2,000, ... labels: those elsewhere, and ours with as many labels as we had."""
    found = study("learning-loss")
    rows = {f"`{row['strategy']}`, {row['source']}": _points(row) for row in _elsewhere()["rows"]}
    for name, row in found["rows"].items():
        rows[f"`{name}`, our small study"] = [Estimate(**row[str(STEP)]["accuracy"])]
    length = max(map(len, rows.values()))
    header = ("strategy", "n", *(f"{STEP * i:,}" for i in range(1, length + 1)))
    cells = {name: [_cell(point) for point in points] for name, points in rows.items()}
    return table(
        header, [(name, str(rows[name][0].n), *row, *["-"] * (length - len(row))) for name, row in cells.items()]
    )


def sources() -> str:
    """Where the accuracies elsewhere are from."""
    lines = []
    for name, source in _elsewhere()["sources"].items():
        what = f"[{source['what']}]({source['url']})" if source["url"] else source["what"]
        lines.append(f"- {name}: {what}. Setup: {source['setup']}.")
    return "\n".join(lines)


def verdicts() -> str:
    """The verdict on each claim of the paper, by our study and by the accuracies elsewhere."""
    found = study("learning-loss")
    elsewhere = {
        "random": _reproduced_elsewhere(),
        "entropy": "not comparable: no accuracies of entropy found",
        "core_set": "not comparable: core-set (C) has 4,000 labels at most, and another setup than A and B",
    }
    rows = [
        (f"more accurate than `{name}`", f"{verdict}: {100 * found['ahead_of'][name]['mean']:+.1f}", elsewhere[name])
        for name, verdict in found["verdicts"].items()
    ]
    size = f"our study, {found['labels'][-1]:,} labels, points"
    return table(("claim of the paper on learning loss", size, "elsewhere, 10,000 labels, points"), rows)


def _reproduced_elsewhere() -> str:
    """The difference of learning loss and random sampling after the last cycle of source A, by Welch's t interval."""
    last = {
        row["strategy"]: [trial[-1] for trial in row["trials"]] for row in _elsewhere()["rows"] if row["source"] == "A"
    }
    test = stats.ttest_ind(last[OURS], last["random"], equal_var=False)
    low, high = test.confidence_interval()
    difference = sum(last[OURS]) / len(last[OURS]) - sum(last["random"]) / len(last["random"])
    verdict = "reproduced" if low > 0 else "not reproduced"
    return f"{verdict} (A): {difference:+.1f} [{low:+.1f}, {high:+.1f}]"


def _elsewhere() -> dict[str, Any]:
    found: dict[str, Any] = read_json(ROOT / "results" / "learning-loss" / "elsewhere.json")
    return found


def _points(row: Mapping[str, Any]) -> list[Estimate]:
    """The accuracy after each cycle, as a fraction."""
    if "trials" in row:
        return [estimate([value / 100 for value in values]) for values in zip(*row["trials"], strict=True)]
    return [Estimate(m / 100, s / 100, row["n"], None) for m, s in zip(row["mean"], row["sd"], strict=True)]


def _mean(value: float) -> Estimate:
    """A point of a curve without an interval."""
    return Estimate(value, None, 1, None)


def _cell(point: Estimate) -> str:
    assert point.sd is not None
    return f"{100 * point.mean:.1f} ± {100 * point.sd:.1f}"
