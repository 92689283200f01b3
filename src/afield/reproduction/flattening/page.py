"""The page of paper A: complement flattening."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from afield.evaluation import Estimate, estimate
from afield.records import Record
from afield.reporting import plots
from afield.reporting.document import Figure, Section, Table, said
from afield.reproduction import seeds
from afield.reproduction.flattening.plan import (
    CROSS_ENTROPY,
    DOMAINS,
    FROZEN,
    LAMBDAS,
    SCRATCH,
    SYSTEMS,
    TUNED,
    flattening,
)
from afield.reproduction.paper import Judged, set_up, verdict_table
from afield.reproduction.verdict import differences, judge_difference, judge_value

OURS = (0.8235, 0.7767, 0.7283, 0.9605, 0.8222)
"""Table 1: flattening with lambda 0.5."""

BASELINE = 0.8062
"""Table 2: cross-entropy, on average."""

PROTOCOL = {
    "backbone.name": "resnet18",
    "backbone.freeze": False,
    "data.image_size": 224,
    "training.epochs": 30,
    "training.batch_size": 128,
    "training.optimizer": "sgd",
    "training.learning_rate": 0.004,
    "training.schedule": "step",
    "training.augment": "crop_flip_jitter",
    "training.dropout": 0.0,
}
"""Section 4. Not held against a run, but on the page: 5 runs, and images that are re-encoded."""


def sections(lines: Sequence[Record]) -> Sequence[Section]:
    """The page."""
    found = [verdicts(lines), *tables(lines), sweep(lines), wrong_classes(lines)]
    return [section for section in found if section is not None]


def _main(lines: Sequence[Record]) -> str:
    """The study that stands beside the paper's tables."""
    studies_there = [line.study for line in lines]
    return next((name for name in (TUNED, FROZEN) if name in studies_there), FROZEN)


def verdicts(lines: Sequence[Record]) -> Section:
    """Tables 1 and 2 number by number; each claim that flattening is better."""
    study = _main(lines)
    inside = seeds.of(lines, study)
    change = differences(inside[0].config, PROTOCOL) if inside else []
    judged: list[Judged] = []

    def add(place: str, value: float, recipe: str, part: str | None) -> None:
        ours = seeds.over(seeds.of_recipe(lines, study, recipe, part))
        judged.append(Judged(place, f"{100 * value:.2f}", ours, judge_value(value, ours, change)))

    def claim(place: str, value: float | None, first: str, second: str) -> None:
        """A difference in print, or one that is only said to be above zero."""
        where = (
            study if seeds.of_recipe(lines, study, second) or not seeds.of_recipe(lines, SCRATCH, second) else SCRATCH
        )
        ours = seeds.paired(seeds.of_recipe(lines, where, first), seeds.of_recipe(lines, where, second))
        place = place if where == study else f"{place} ({where})"
        printed = "above 0" if value is None else f"{100 * value:+.2f}"
        judged.append(Judged(place, printed, ours, judge_difference(value or 1.0, ours), "+"))

    best, plain = flattening(0.5).name, CROSS_ENTROPY.name
    claim("table 2: flattening 0.5 − CE, average", OURS[-1] - BASELINE, best, plain)
    claim("table 2: flattening 1.0 − CE, average", None, flattening(1.0).name, plain)
    for recipe, (name, printed) in SYSTEMS.items():
        if printed is not None:
            claim(f"table 1: flattening 0.5 − {name}, average", OURS[-1] - printed[-1], best, recipe)
    add("table 2: CE, average", BASELINE, CROSS_ENTROPY.name, None)
    for recipe, (name, printed) in {best: ("flattening 0.5", OURS), **SYSTEMS}.items():
        for part, value in zip((*DOMAINS, None), printed or (), strict=False):
            add(f"table 1: {name}, {part or 'average'}", value, recipe, part)
    unprinted = [
        name for recipe, (name, printed) in SYSTEMS.items() if printed is None and recipe not in seeds.names(lines)
    ]
    text = (
        "PACS is re-encoded (JPEG of quality 88, sketch lossless) and squashed to the image size; validation images "
        "are a tenth of each training domain, by class; the epoch is that of best validation accuracy.",
        f"Named in the paper's text without a number, and not run: {', '.join(unprinted)}." if unprinted else "",
    )
    return Section("Published numbers and claims", text, (verdict_table(f"{study}.", judged),))


def tables(lines: Sequence[Record]) -> Iterator[Section]:
    """Accuracy by unseen domain, calibration, and the difference to cross-entropy: a table for each study."""
    for study in seeds.studies(lines):
        inside = seeds.of(lines, study)
        unseen = seeds.parts(inside)
        rows = []
        for recipe in seeds.names(inside):
            average = seeds.of_recipe(inside, study, recipe)
            gain = seeds.paired(average, seeds.of_recipe(inside, study, CROSS_ENTROPY.name))
            error = seeds.of_recipe(inside, study, recipe, metric="ece")
            worse = seeds.paired(error, seeds.of_recipe(inside, study, CROSS_ENTROPY.name, metric="ece"))
            others = recipe != CROSS_ENTROPY.name
            rows.append(
                (
                    SYSTEMS[recipe][0] if recipe in SYSTEMS else recipe,
                    said(seeds.over(average)),
                    said(gain, "+") if others else "",
                    *(said(seeds.over(seeds.of_recipe(inside, study, recipe, part))) for part in unseen),
                    said(seeds.over(error)),
                    said(worse, "+") if others else "",
                )
            )
        if study == _main(lines):
            there, anywhere, blank = seeds.names(inside), seeds.names(lines), [""] * (len(unseen) + 4)
            for recipe, (name, _) in SYSTEMS.items():
                if recipe not in there:
                    rows.append((f"{name} ({f'see {SCRATCH}' if recipe in anywhere else 'not run'})", *blank))
        title = "Table 1: one domain left out at a time" if study == _main(lines) else f"Beyond the paper: {study}"
        caption = f"{study}: {set_up(inside[0])} n = {len({line.seed for line in inside})} seeds."
        header = ("recipe", "average", "− erm", *unseen, "ECE, average", "ECE − erm")
        yield Section(title, tables=(Table(caption, header, rows),))


def sweep(lines: Sequence[Record]) -> Section | None:
    """Table 2 and the sweep of lambda: unseen accuracy and calibration."""
    study = _main(lines)
    by_lambda = {0.0: CROSS_ENTROPY.name, **{weight: flattening(weight).name for weight in LAMBDAS}}
    there = set(seeds.names(seeds.of(lines, study)))
    by_lambda = {weight: name for weight, name in by_lambda.items() if name in there}
    if len(by_lambda) < 2:
        return None
    rows, figures = [], []
    base = seeds.of_recipe(lines, study, CROSS_ENTROPY.name)
    for weight, name in by_lambda.items():
        found = seeds.of_recipe(lines, study, name)
        rows.append((f"{weight:g}", said(seeds.over(found)), said(seeds.paired(found, base), "+") if weight else ""))
    for metric, what in (("accuracy", "accuracy on unseen domains"), ("ece", "calibration error on unseen domains")):
        points: dict[float, Estimate] = {}
        for weight, name in by_lambda.items():
            value = seeds.over(seeds.of_recipe(lines, study, name, metric=metric))
            if value is not None:
                points[weight] = value
        svg = plots.curves_with_intervals(
            f"lambda-{metric}", f"{what} by lambda", {f"{study}, average": points}, x="lambda", y=f"{what}, %"
        )
        figures.append(Figure(f"lambda-{metric}", f"{what} against lambda", svg))
    caption = f"Average over the unseen domains, {study}; lambda 0 is cross-entropy alone."
    table = Table(caption, ("lambda", "accuracy", "− lambda 0"), rows)
    return Section("Table 2: lambda from 0 to 4", tables=(table,), figures=tuple(figures))


SHOWN = ("dog", "0")
"""The class of figure 1, and of the stand-in."""


def wrong_classes(lines: Sequence[Record]) -> Section | None:
    """Figure 1: the mean probability of each wrong class for images of each class, CE beside flattening."""
    study = _main(lines)
    recipes = (CROSS_ENTROPY.name, flattening(0.5).name)
    inside = [line for line in seeds.of(lines, study) if line.recipe in recipes and "wrong_classes" in line.details]
    if {line.recipe for line in inside} != set(recipes):
        return None
    classes = inside[0].details["classes"]
    figures = []
    for true in sorted(classes, key=lambda name: (name not in SHOWN, name)):
        bars = {
            recipe: {
                wrong: _wrong([line for line in inside if line.recipe == recipe], true, place)
                for place, wrong in enumerate(classes)
                if wrong != true
            }
            for recipe in recipes
        }
        svg = plots.bars_with_intervals(
            f"wrong-{true}", f"images of {true}: mean probability of wrong classes", bars, x="mean probability"
        )
        figures.append(
            Figure(f"figure-1-{true}", f"figure 1, images of {true}: mean probability of wrong classes", svg)
        )
    text = (f"{study}: mean over unseen domains, with 95 % intervals over seeds. The paper shows dog.",)
    return Section("Figure 1: probabilities of the wrong classes", text, figures=tuple(figures))


def _wrong(lines: Sequence[Record], true: str, wrong: int) -> Estimate:
    """Over seeds, of the mean over unseen domains."""
    by_seed: dict[int, list[float]] = {}
    for line in lines:
        if true in line.details["wrong_classes"]:
            by_seed.setdefault(line.seed, []).append(line.details["wrong_classes"][true][wrong])
    return estimate([float(np.mean(values)) for values in by_seed.values()])
