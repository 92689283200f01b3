"""The page of paper C: angular-margin heads."""

import math
from collections.abc import Iterator, Sequence

from afield.evaluation import Estimate
from afield.recipes import Recipe
from afield.records import Record
from afield.reporting import plots
from afield.reporting.document import Figure, Section, Table, said
from afield.reproduction import seeds
from afield.reproduction.margin.plan import (
    BOTH,
    CE,
    DEFAULT,
    EXEMPLARS,
    FORMS,
    MARGINS,
    NETWORKS,
    PAPER,
    SETS,
    arcface,
    studies,
)
from afield.reproduction.paper import Judged, Paper, study_caption, verdict_table
from afield.reproduction.verdict import differences, holds_on, untrained

PUBLISHED = {
    ("cifar10", "resnet18"): (0.652, 0.654),
    ("cifar10", "efficientnet_b0"): (0.8466, 0.852),
    ("cifar10", "mobilenetv2_100"): (0.5901, 0.5888),
    ("cifar100", "resnet18"): (0.6016, 0.598),
    ("cifar100", "efficientnet_b0"): (0.622, 0.6301),
    ("cifar100", "mobilenetv2_100"): (0.5894, 0.5905),
}
"""Tables 1 and 2: mAP of cross-entropy and of the angular margin, by data and network."""

BROKEN = 0.5
"""Training with a margin fails if its mAP is less than this fraction of the mAP without margin."""


def _map(lines: Sequence[Record], study: str, recipe: Recipe) -> seeds.BySeed:
    return seeds.of_recipe(lines, study, recipe.name, metric="map")


def _top1(lines: Sequence[Record], study: str, recipe: Recipe) -> seeds.BySeed:
    return seeds.of_recipe(lines, study, recipe.name)


def verdicts(lines: Sequence[Record]) -> Iterator[Section]:
    """Verdicts on the numbers and claims of tables 1 and 2, and on claims about large margins and many classes."""
    judged = []
    for (data, net), (plain, margin) in PUBLISHED.items():
        study = f"{data}/{net}"
        where = f"table {1 if data == 'cifar10' else 2}, {SETS[data]}, {NETWORKS[net]}"
        change = differences_of(lines, study, net)
        our_plain, our_margin = (_map(lines, study, recipe) for recipe in (CE, PAPER))
        difference, claimed = seeds.paired(our_margin, our_plain), margin - plain
        hollow = untrained("cross-entropy", seeds.over(our_plain), seeds.chance(lines, study))
        judged += [
            Judged.value(f"{where}: cross-entropy", plain, our_plain, change),
            Judged.value(f"{where}: angular margin", margin, our_margin, change),
            Judged.difference(f"{where}: margin − CE", claimed, difference, hollow=hollow),
        ]
    judged += [*broken(lines), many_classes(lines)]
    caption = "mAP in %. Differences are judged by their direction; numbers are judged only if the setups agree."
    text = (
        "The paper gives no training schedule. We use our own schedule, the same for both heads. The head of the paper "
        "has scale 1 and the exact gradient; the default of this library is scale auto and the straight-through "
        "gradient.",
    )
    yield Section("Published numbers and claims", text, (verdict_table(caption, judged),))


def differences_of(lines: Sequence[Record], study: str, net: str) -> list[str]:
    """The differences between the setup of a study and that of the paper."""
    found = seeds.of(lines, study)
    if not found:
        return []
    change = differences(found[0].config, {"backbone.name": net, "backbone.stem": "standard"})
    images = found[0].images["train"]
    if images < 40_000:
        change += [f"{images:,} training images", f"{found[0].config['training']['epochs']} epochs"]
    return change


def broken(lines: Sequence[Record]) -> Iterator[Judged]:
    """Claims of figure 2: training does not converge with margins of 2 and more."""
    for study in _swept(lines):
        base = _map(lines, study, arcface(0.0))
        for margin in (2.0, 2.5):
            place = f"figure 2, {study}: {margin:g} rad does not converge (difference to 0 rad)"
            yield Judged.difference(place, -1.0, seeds.paired(_map(lines, study, arcface(margin)), base), "−")


def many_classes(lines: Sequence[Record]) -> Judged:
    """The claim that training on ImageNet does not converge at scale 1. We use exemplars of CIFAR-100."""
    first, second = (_top1(lines, EXEMPLARS, recipe) for recipe in (PAPER, CE))
    place = "text: 1,000 classes at scale 1 do not converge (top-1, difference to cross-entropy)"
    hollow = untrained("cross-entropy", seeds.over(second), seeds.chance(lines, EXEMPLARS))
    ours = seeds.paired(first, second)
    return Judged.difference(place, -1.0, ours, "−", hollow=hollow, setups=holds_on(-1.0, {EXEMPLARS: ours}))


def tables(lines: Sequence[Record]) -> Iterator[Section]:
    """mAP and top-1 accuracy of every objective, by data set and network, with differences to cross-entropy."""
    shown = []
    for study in seeds.studies(lines):
        if study in ("plane", EXEMPLARS):
            continue
        inside = seeds.of(lines, study)
        there, rows = seeds.names(inside), []
        for recipe in (CE, PAPER, DEFAULT, BOTH):
            if recipe.name in there:
                cells = []
                for of in (_map, _top1):
                    ours, plain = of(inside, study, recipe), of(inside, study, CE)
                    gain = "" if recipe == CE else said(seeds.paired(ours, plain), "+")
                    cells += [said(seeds.over(ours)), gain]
                error = seeds.of_recipe(inside, study, recipe.name, metric="ece")
                rows.append((recipe.name, *cells, said(seeds.over(error))))
        header = ("objective", "mAP", "− CE", "top-1", "− CE", "ECE")
        shown.append(Table(study_caption(inside), header, rows))
    if shown:
        yield Section("Tables 1 and 2: mAP and top-1", tables=tuple(shown))


def _swept(lines: Sequence[Record]) -> list[str]:
    """The studies with different margins."""
    return [study for study in seeds.studies(lines) if seeds.of(lines, study, arcface(0.0).name)]


def sweep(lines: Sequence[Record]) -> Iterator[Section]:
    """Figure 2: mAP by margin, and whether the curve has the shape in the paper."""
    figures, text = [], []
    for index, study in enumerate(_swept(lines)):
        points = seeds.curve({margin: _map(lines, study, arcface(margin)) for margin in MARGINS})
        if not points:
            continue
        series, level = {"ArcFace, scale 1, exact gradient": points}, _level(_map(lines, study, CE))
        label = f"{study}: mAP by margin"
        svg = plots.curves_with_intervals(f"sweep{index}", label, series, x="margin, rad", y="mAP, %", level=level)
        figures.append(Figure(f"figure-2-{study.replace('/', '-')}", f"figure 2, {study}: mAP by margin", svg))
        text.append(f"{study}: {shape(lines, study)}")
    if figures:
        yield Section("Figure 2: mAP by margin", tuple(text), figures=tuple(figures))


def _level(by_seed: seeds.BySeed) -> tuple[str, float] | None:
    """The line of cross-entropy in a figure; None if it was not run."""
    found = seeds.over(by_seed)
    return ("cross-entropy", found.mean) if found else None


def shape(lines: Sequence[Record], study: str) -> str:
    """A sentence that states whether small margins do not harm and margins of 2 and more fail, as in the paper."""
    base = _map(lines, study, arcface(0.0))
    small = seeds.paired(_map(lines, study, arcface(0.1)), base)
    level = seeds.over(base)
    large = [value for m in (2.0, 2.5) if (value := seeds.over(_map(lines, study, arcface(m)))) is not None]
    if small is None or small.ci95 is None or level is None or not large:
        return "there are too few runs to determine the shape of the curve."
    first = "harms" if small.ci95[1] < 0 else "helps" if small.ci95[0] > 0 else "is neutral"
    breaks = all(value.mean < BROKEN * level.mean for value in large)
    has = "has" if first != "harms" and breaks else "does not have"
    second = "fail" if breaks else "do not all fail"
    return (
        f"a margin of 0.1 rad {first} ({said(small, '+')} points of mAP compared with 0 rad), and margins of 2 rad and "
        f"more {second} (less than half of the mAP at 0 rad). The curve {has} the shape in the paper."
    )


def gradients(lines: Sequence[Record]) -> Iterator[Section]:
    """The gradient study: top-1 accuracy by margin with both forms of the gradient, at scale auto."""
    study = "cifar10/resnet8"
    options = [line.config["recipe"]["head_options"] for line in seeds.of(lines, study)]
    margins = sorted({option["margin_rad"] for option in options if option.get("scale") == "auto"})
    exact, straight = (
        {margin: _top1(lines, study, arcface(margin, "auto", form)) for margin in margins} for form in FORMS
    )
    if not any((*exact.values(), *straight.values())):
        return
    base = _top1(lines, study, CE)
    rows = [
        {
            "margin, rad": f"{margin:g}",
            "exact": said(seeds.over(exact[margin])),
            "straight-through": said(seeds.over(straight[margin])),
            "straight-through − exact": said(seeds.paired(straight[margin], exact[margin]), "+"),
            "straight-through − CE": said(seeds.paired(straight[margin], base), "+"),
        }
        for margin in margins
    ]
    series = {"exact gradient": seeds.curve(exact), "straight-through gradient": seeds.curve(straight)}
    label = "top-1 by margin and form of the gradient"
    svg = plots.curves_with_intervals("gradients", label, series, x="margin, rad", y="top-1, %", level=_level(base))
    text = (
        "The exact gradient of cos(theta + m) is unbounded for theta → 0, where features lie early in training. With a "
        "scale that is large enough for training, only the smallest margins then succeed. This explains why the paper "
        "found only small margins usable. The straight-through gradient has the same forward value and the factor 1.",
    )
    table = Table.of(f"Top-1, {study}, scale auto.", rows)
    figure = Figure("gradients", "top-1 by margin, scale auto", svg)
    yield Section("Gradient study: exact and straight-through gradient", text, (table,), (figure,))


def scales(lines: Sequence[Record]) -> Iterator[Section]:
    """The scale study: top-1 accuracy with scales 1 and auto relative to cross-entropy, by number of classes."""
    rows, shares = [], dict[str, dict[float, Estimate]]()
    for study in ("cifar10/resnet8", "cifar100/resnet8", EXEMPLARS):
        base, paper, auto = (_top1(lines, study, recipe) for recipe in (CE, PAPER, DEFAULT))
        if not base:
            continue
        k = seeds.of(lines, study)[0].details["class_count"]
        for name, by_seed in (("scale 1 (paper)", paper), ("scale auto", auto)):
            ratios = {seed: value / base[seed] for seed, value in by_seed.items() if base.get(seed)}
            share = seeds.over(ratios, highest=math.inf)
            if share is not None:
                shares.setdefault(name, {})[k] = share
        row = {
            "classes": f"{k:,}",
            "cross-entropy": said(seeds.over(base)),
            "scale 1, exact": said(seeds.over(paper)),
            "scale auto": said(seeds.over(auto)),
            "scale 1 − CE": said(seeds.paired(paper, base), "+"),
            "scale auto − CE": said(seeds.paired(auto, base), "+"),
        }
        rows.append(row)
    if not shares:
        return
    label, y = "top-1 relative to cross-entropy by number of classes", "top-1, % of cross-entropy"
    level = ("cross-entropy", 1.0)
    svg = plots.curves_with_intervals("scales", label, shares, x="classes", y=y, log=True, level=level)
    text = (
        "At scale 1, the largest possible probability is 0.45, 0.07 and 0.007 for 10, 100 and 1,000 classes. In the "
        "largest data set, each class consists of random patches of one CIFAR-100 image with changed colors.",
    )
    figure = Figure("scales", "top-1 relative to cross-entropy", svg)
    yield Section("Scale study: 1 and auto", text, (Table.of("Top-1.", rows),), (figure,))


def first_figure(lines: Sequence[Record]) -> Iterator[Section]:
    """Figure 1: 2-D features, decision regions and class vectors of three heads."""
    figures: list[Figure] = []
    for line in seeds.of(lines, "plane"):
        if "plane" in line.details:
            key, label = f"plane{len(figures)}", f"features and decision boundaries of {line.recipe}"
            svg = plots.plane(key, label, classes=line.details["classes"], **line.details["plane"])
            accuracy = 100 * seeds.values([line], "accuracy")[line.seed]
            name = f"figure-1-{line.recipe.split()[0]}"
            figures.append(Figure(name, f"{line.recipe}: top-1 {accuracy:.1f} %", svg))
    text = (
        "Features of test images of three classes, from a network with two features. Shaded: regions of the predicted "
        "classes. Arrows: class vectors. The boundaries of a linear head depend on products and bias, those of the "
        "other heads only on the angle. A margin requires an angular distance between each class and the boundary.",
    )
    if figures:
        yield Section("Figure 1: decision boundaries and margins of three classes", text, figures=tuple(figures))


SECTIONS = (verdicts, tables, sweep, gradients, scales, first_figure)
MARGIN = Paper("margin", "Angular-margin heads on ordinary classes (paper C)", studies, SECTIONS)
