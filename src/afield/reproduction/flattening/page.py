"""The page of paper A: complement flattening."""

from collections.abc import Iterator, Sequence

import numpy as np

from afield.evaluation import Estimate, estimate
from afield.records import Record
from afield.reporting import plots
from afield.reporting.document import Figure, Section, Table, said
from afield.reproduction import seeds
from afield.reproduction.flattening.plan import (
    ERM,
    FROZEN,
    LAMBDAS,
    REGULARIZERS,
    SCRATCH,
    SYSTEMS,
    TUNED,
    flattening,
    studies,
)
from afield.reproduction.paper import Judged, Paper, study_caption, verdict_table
from afield.reproduction.verdict import differences, holds_on, untrained

DOMAINS = ("art_painting", "cartoon", "sketch", "photo")
"""The domains in the order of table 1."""

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
"""Setup of section 4. Number of runs and re-encoding of images are not compared, but described on the page."""


def _main(lines: Sequence[Record]) -> str:
    """The study that is compared with the tables of the paper."""
    studies_there = [line.study for line in lines]
    return next((name for name in (TUNED, FROZEN) if name in studies_there), FROZEN)


def _untrained(lines: Sequence[Record], study: str, rival: str) -> str:
    """Why a difference to a method of the paper, or to cross-entropy, says nothing in a study; see `untrained`."""
    name = SYSTEMS[rival][0] if rival in SYSTEMS else "cross-entropy"
    found = seeds.of_recipe(lines, study, rival)
    gain = seeds.paired(found, seeds.of_recipe(lines, study, ERM.name)) if rival in SYSTEMS else None
    return untrained(name, seeds.over(found), seeds.chance(lines, study), gain)


def verdicts(lines: Sequence[Record]) -> Iterator[Section]:
    """Verdicts on the numbers of tables 1 and 2, and on each claim that flattening is better."""
    study = _main(lines)
    inside = seeds.of(lines, study)
    change = differences(inside[0].config, PROTOCOL) if inside else []
    judged: list[Judged] = []

    def add(place: str, value: float, recipe: str, part: str | None) -> None:
        judged.append(Judged.value(place, value, seeds.of_recipe(lines, study, recipe, part), change))

    def claim(place: str, value: float | None, first: str, second: str) -> None:
        """Add a published difference, or one that is only claimed to be positive."""
        there = seeds.of_recipe(lines, study, second) or not seeds.of_recipe(lines, SCRATCH, second)
        where = study if there else SCRATCH
        place = place if there else f"{place} ({where})"
        claimed, printed = value or 1.0, "above 0" if value is None else ""
        hollow = _untrained(lines, where, second)
        found = {
            name: seeds.paired(seeds.of_recipe(lines, name, first), seeds.of_recipe(lines, name, second))
            for name in (where, *seeds.studies(lines))
            if name == where or not _untrained(lines, name, second)
        }
        setups = holds_on(claimed, found)
        judged.append(Judged.difference(place, claimed, found[where], printed, hollow=hollow, setups=setups))

    best, plain = flattening(0.5).name, ERM.name
    claim("table 2: flattening 0.5 − CE, average", OURS[-1] - BASELINE, best, plain)
    claim("table 2: flattening 1.0 − CE, average", None, flattening(1.0).name, plain)
    for recipe, (name, printed) in SYSTEMS.items():
        if printed is not None:
            claim(f"table 1: flattening 0.5 − {name}, average", OURS[-1] - printed[-1], best, recipe)
    add("table 2: CE, average", BASELINE, ERM.name, None)
    for recipe, (name, printed) in {best: ("flattening 0.5", OURS), **SYSTEMS}.items():
        for part, value in zip((*DOMAINS, None), printed or (), strict=False):
            add(f"table 1: {name}, {part or 'average'}", value, recipe, part)
    unprinted = [
        name for recipe, (name, printed) in SYSTEMS.items() if printed is None and recipe not in seeds.names(lines)
    ]
    text = (
        "The images of PACS are re-encoded (JPEG of quality 88, sketch lossless) and resized to squares. Validation "
        "images are a tenth of each training domain, stratified by class. The epoch with the best validation accuracy "
        "is selected.",
        f"The paper mentions these methods without a number; they were not run: {', '.join(unprinted)}."
        if unprinted
        else "",
    )
    yield Section("Published numbers and claims", text, (verdict_table(f"{study}.", judged),))


def tables(lines: Sequence[Record]) -> Iterator[Section]:
    """A table for each study: accuracy by unseen domain, calibration error, and differences to cross-entropy."""
    for study in seeds.studies(lines):
        inside = seeds.of(lines, study)
        rows: list[dict[str, str]] = []
        for recipe in seeds.names(inside):
            average = seeds.of_recipe(inside, study, recipe)
            gain = seeds.paired(average, seeds.of_recipe(inside, study, ERM.name))
            error = seeds.of_recipe(inside, study, recipe, metric="ece")
            worse = seeds.paired(error, seeds.of_recipe(inside, study, ERM.name, metric="ece"))
            others = recipe != ERM.name
            by_part = {part: seeds.of_recipe(inside, study, recipe, part) for part in seeds.parts(inside)}
            row = {
                "recipe": SYSTEMS[recipe][0] if recipe in SYSTEMS else recipe,
                "average": said(seeds.over(average)),
                "− erm": said(gain, "+") if others else "",
                **{part: said(seeds.over(by_seed)) for part, by_seed in by_part.items()},
                "ECE, average": said(seeds.over(error)),
                "ECE − erm": said(worse, "+") if others else "",
            }
            rows.append(row)
        title = f"Beyond the paper: {study}"
        if study == _main(lines):
            title, there, anywhere = "Table 1: one held-out domain at a time", seeds.names(inside), seeds.names(lines)
            for recipe, (name, _) in SYSTEMS.items():
                if recipe not in there:
                    rows.append({"recipe": f"{name} ({f'see {SCRATCH}' if recipe in anywhere else 'not run'})"})
        yield Section(title, tables=(Table.of(study_caption(inside), rows),))


def sweep(lines: Sequence[Record]) -> Iterator[Section]:
    """Table 2 and other values of lambda: accuracy and calibration error on unseen domains."""
    study = _main(lines)
    by_lambda = {0.0: ERM.name, **{weight: flattening(weight).name for weight in LAMBDAS}}
    there = seeds.names(seeds.of(lines, study))
    by_lambda = {weight: name for weight, name in by_lambda.items() if name in there}
    if len(by_lambda) < 2:
        return
    rows, figures = [], []
    base = seeds.of_recipe(lines, study, ERM.name)
    for weight, name in by_lambda.items():
        found = seeds.of_recipe(lines, study, name)
        gain = said(seeds.paired(found, base), "+") if weight else ""
        rows.append({"lambda": f"{weight:g}", "accuracy": said(seeds.over(found)), "− lambda 0": gain})
    for metric, what in (("accuracy", "accuracy on unseen domains"), ("ece", "calibration error on unseen domains")):
        points = seeds.curve({w: seeds.of_recipe(lines, study, name, metric=metric) for w, name in by_lambda.items()})
        if not points:
            continue
        key, series = f"lambda-{metric}", {f"{study}, average": points}
        svg = plots.curves_with_intervals(key, f"{what} by lambda", series, x="lambda", y=f"{what}, %")
        figures.append(Figure(key, f"{what} by lambda", svg))
    caption = f"Average over the unseen domains, {study}; lambda 0 is cross-entropy alone."
    yield Section("Table 2: lambda from 0 to 4", tables=(Table.of(caption, rows),), figures=tuple(figures))


def regularizers(lines: Sequence[Record]) -> Iterator[Section]:
    """Other amounts of dropout and weight decay, and label smoothing, against flattening."""
    inside = seeds.of(lines, FROZEN)
    there, best = seeds.names(inside), flattening(0.5).name
    regularized = [recipe.name for recipe in REGULARIZERS if recipe.name in there]
    if not regularized or ERM.name not in there:
        return
    names = (ERM.name, *regularized, "label_smoothing", best)
    found = {name: seeds.of_recipe(inside, FROZEN, name) for name in names}
    rows = [
        {
            "recipe": name,
            "accuracy": said(seeds.over(by_seed)),
            "− erm": said(seeds.paired(by_seed, found[ERM.name]), "+") if name != ERM.name else "",
            f"{best} − it": said(seeds.paired(found[best], by_seed), "+") if name != best else "",
        }
        for name, by_seed in found.items()
    ]
    training = seeds.of(inside, FROZEN, ERM.name)[0].config["training"]
    text = (
        "The paper names dropout and weight decay as regularizers, without a number. A recipe with one of these names "
        f"changes this setting only. All other recipes have dropout {training['dropout']:g} and weight decay "
        f"{training['weight_decay']:g}.",
    )
    caption = f"Average over the unseen domains, {FROZEN}."
    yield Section("Regularizers", text, (Table.of(caption, rows),))


SHOWN = ("dog", "0")
"""The class of figure 1, and the class shown first with the embedded digits."""


def wrong_classes(lines: Sequence[Record]) -> Iterator[Section]:
    """Figure 1: the mean probability of each wrong class for images of each class, with CE and with flattening."""
    study = _main(lines)
    found = {recipe: seeds.of(lines, study, recipe) for recipe in (ERM.name, flattening(0.5).name)}
    found = {recipe: [line for line in inside if "wrong_classes" in line.details] for recipe, inside in found.items()}
    if not all(found.values()):
        return
    classes = found[ERM.name][0].details["classes"]
    figures = []
    for true in sorted(classes, key=lambda name: (name not in SHOWN, name)):
        wrong = {name: place for place, name in enumerate(classes) if name != true}
        bars = {r: {name: _wrong(inside, true, place) for name, place in wrong.items()} for r, inside in found.items()}
        title = f"images of {true}: mean probability of wrong classes"
        svg = plots.bars_with_intervals(f"wrong-{true}", title, bars, x="mean probability")
        figures.append(Figure(f"figure-1-{true}", f"figure 1, {title}", svg))
    text = (f"{study}: means over unseen domains, with 95 % intervals over seeds. The paper shows the class dog.",)
    yield Section("Figure 1: probabilities of the wrong classes", text, figures=tuple(figures))


def _wrong(lines: Sequence[Record], true: str, wrong: int) -> Estimate:
    """The estimate over seeds of the mean probability over unseen domains."""
    by_seed: dict[int, list[float]] = {}
    for line in lines:
        if true in line.details["wrong_classes"]:
            by_seed.setdefault(line.seed, []).append(line.details["wrong_classes"][true][wrong])
    return estimate([float(np.mean(values)) for values in by_seed.values()])


SECTIONS = (verdicts, tables, sweep, regularizers, wrong_classes)
FLATTENING = Paper("flattening", "Complement flattening (paper A)", studies, SECTIONS)
