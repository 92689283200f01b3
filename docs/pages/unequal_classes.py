"""Classes of unequal size: the metrics, the study on CIFAR-100 with imbalance 100, and that of translated images."""

from __future__ import annotations

from statistics import mean

from afield.catalog import REGISTRIES
from afield.evaluation import METRICS
from afield.records import read_records, read_summary
from pages.tables import ROOT, filled, interval, study, table

FOLDER = ROOT / "results" / "imbalance"
THIRDS = ("largest", "middle", "smallest")


def unequal_classes_page() -> str:
    """The page about classes of unequal size."""
    summary, records = read_summary(FOLDER / "summary.json"), read_records(FOLDER)
    metrics = table(
        ("`--metric`", "what it is", "better"),
        [
            (f"`{entry.name}`", entry.summary, "lower" if METRICS[entry.name].lower_is_better else "higher")
            for entry in REGISTRIES["metrics"]
        ],
    )
    shown = ("macro_f1", "worst_class", "ece")
    rows = [
        (
            f"`{name}`",
            interval(row.average.as_dict()),
            "" if name == "erm" or row.vs_erm is None else interval(row.vs_erm.as_dict(), "+"),
            *(f"{100 * row.metrics[metric].mean:.1f}" for metric in shown),
        )
        for name, row in summary.recipes.items()
    ]
    thirds = [
        (f"`{name}`", *(f"{100 * mean(r.details[third] for r in records if r.recipe == name):.1f}" for third in THIRDS))
        for name in summary.recipes
    ]
    titles = (METRICS[metric].title for metric in shown)
    return filled(
        "unequal_classes.md.in",
        {
            "metrics": metrics,
            "epochs": str(records[0].config["training"]["epochs"]),
            "seeds": str(len(summary.seeds)),
            "table": table(("recipe", "balanced accuracy", "difference to `erm`", *titles), rows),
            "thirds": table(("recipe", *(f"{third} third of the classes" for third in THIRDS)), thirds),
            "finding": f"Result: {summary.reason}.",
            "translation": translations(),
        },
    )


def translations() -> str:
    """Balanced accuracy and recalls of each arm of the study of translated images."""
    rows = [
        (
            f"`{name}`",
            interval(arm["balanced_accuracy"]),
            "" if name == "erm" else interval(arm["balanced_accuracy over erm"], "+"),
            *(interval(arm[group]) for group in ("rare", "common", "reference")),
        )
        for name, arm in study("translation")["arms"].items()
    ]
    recalls = ("recall of rare classes", "of common classes", "of horses")
    return table(("arm", "balanced accuracy", "difference to `erm`", *recalls), rows)
