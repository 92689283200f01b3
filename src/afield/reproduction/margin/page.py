"""The page of paper C: angular-margin heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from afield.recipes import Recipe
from afield.records import Record
from afield.reporting import plots
from afield.reporting.document import Figure, Section, Table, point, said
from afield.reproduction import seeds
from afield.reproduction.margin.plan import (
    BOTH,
    CROSS_ENTROPY,
    DEFAULT,
    FORMS,
    MARGINS,
    NETWORKS,
    PAPER,
    SETS,
    arcface,
)
from afield.reproduction.paper import Judged, set_up, verdict_table
from afield.reproduction.verdict import differences, judge_difference, judge_value

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
"""A margin breaks training where it loses half of the mAP without a margin, or more."""


def sections(lines: Sequence[Record]) -> Sequence[Section]:
    """The page."""
    found = [verdicts(lines), tables(lines), sweep(lines), gradients(lines), scales(lines), first_figure(lines)]
    return [section for section in found if section is not None]


def _map(lines: Sequence[Record], study: str, recipe: Recipe, metric: str = "map") -> seeds.BySeed:
    return seeds.values(seeds.of(lines, study, recipe.name), metric)


def verdicts(lines: Sequence[Record]) -> Section:
    """Tables 1 and 2, number by number and claim by claim, and what the text says of large margins and many classes."""
    judged = []
    for (data, net), (plain, margin) in PUBLISHED.items():
        study = f"{data}/{net}"
        where = f"table {1 if data == 'cifar10' else 2}, {SETS[data]}, {NETWORKS[net]}"
        change = differences_of(lines, study, net)
        ours = [_map(lines, study, recipe) for recipe in (CROSS_ENTROPY, PAPER)]
        for name, value, by_seed in zip(("cross-entropy", "angular margin"), (plain, margin), ours, strict=True):
            estimate = seeds.over(by_seed)
            judged.append(
                Judged(f"{where}: {name}", f"{100 * value:.2f}", estimate, judge_value(value, estimate, change))
            )
        difference = seeds.paired(ours[1], ours[0])
        verdict = judge_difference(margin - plain, difference)
        judged.append(Judged(f"{where}: margin − CE", f"{100 * (margin - plain):+.2f}", difference, verdict, "+"))
    judged += [*broken(lines), many_classes(lines)]
    caption = "mAP in %. A difference is judged by its direction, on our set-up; a number only where the set-ups agree."
    text = (
        "The paper prints no training schedule, so that ours is our own, the same for both heads. Scale 1 with the "
        "exact gradient is the paper's head; scale auto with the straight-through gradient is this library's default.",
    )
    return Section("Published numbers and claims", text, (verdict_table(caption, judged),))


def differences_of(lines: Sequence[Record], study: str, net: str) -> list[str]:
    """Where the lines of a study leave the paper's set-up."""
    found = seeds.of(lines, study)
    if not found:
        return []
    change = differences(found[0].config, {"backbone.name": net, "backbone.stem": "standard"})
    images = found[0].images["train"]
    if images < 40_000:
        change += [f"{images:,} training images", f"{found[0].config['training']['epochs']} epochs"]
    return change


def broken(lines: Sequence[Record]) -> Iterator[Judged]:
    """Figure 2: margins beyond 2 do not converge."""
    for study in _swept(lines):
        base = _map(lines, study, arcface(0.0))
        for margin in (2.0, 2.5):
            ours = seeds.paired(_map(lines, study, arcface(margin)), base)
            verdict = judge_difference(-1.0, ours)
            place = f"figure 2, {study}: {margin:g} rad does not converge (difference to 0 rad)"
            yield Judged(place, "−", ours, verdict, "+")


def many_classes(lines: Sequence[Record]) -> Judged:
    """ImageNet did not converge at scale 1; ours is exemplars of CIFAR-100."""
    first, second = (_map(lines, "exemplars/resnet8", recipe, "accuracy") for recipe in (PAPER, CROSS_ENTROPY))
    ours = seeds.paired(first, second)
    place = "text: 1,000 classes at scale 1 do not converge (top-1, difference to cross-entropy)"
    return Judged(place, "−", ours, judge_difference(-1.0, ours), "+")


def tables(lines: Sequence[Record]) -> Section | None:
    """mAP and top-1 of every objective, by data and network, each beside cross-entropy."""
    shown = []
    for study in seeds.studies(lines):
        if study in ("plane", "exemplars/resnet8"):
            continue
        inside = seeds.of(lines, study)
        recipes = [
            name for name in (CROSS_ENTROPY.name, PAPER.name, DEFAULT.name, BOTH.name) if name in seeds.names(inside)
        ]
        rows = []
        for name in recipes:
            of = {metric: seeds.values(seeds.of(inside, study, name), metric) for metric in ("map", "accuracy", "ece")}
            base = {metric: _map(inside, study, CROSS_ENTROPY, metric) for metric in of}
            gains = [
                "" if name == CROSS_ENTROPY.name else said(seeds.paired(of[m], base[m]), "+")
                for m in ("map", "accuracy")
            ]
            cells = [said(seeds.over(of[metric])) for metric in of]
            rows.append((name, cells[0], gains[0], cells[1], gains[1], cells[2]))
        caption = f"{study}: {set_up(inside[0])} n = {len({line.seed for line in inside})} seeds."
        shown.append(Table(caption, ("objective", "mAP", "− CE", "top-1", "− CE", "ECE"), rows))
    return Section("Tables 1 and 2: mAP and top-1", tables=tuple(shown)) if shown else None


def _swept(lines: Sequence[Record]) -> list[str]:
    """Studies in which the margin was swept."""
    zero = arcface(0.0).name
    return [study for study in seeds.studies(lines) if seeds.of(lines, study, zero)]


def sweep(lines: Sequence[Record]) -> Section | None:
    """Figure 2: mAP against the margin, and whether it has the paper's shape."""
    figures, text = [], []
    for index, study in enumerate(_swept(lines)):
        points = {m: seeds.over(_map(lines, study, arcface(m))) for m in MARGINS}
        known = {margin: estimate for margin, estimate in points.items() if estimate is not None}
        base = seeds.over(_map(lines, study, CROSS_ENTROPY))
        svg = plots.curves_with_intervals(
            f"sweep{index}",
            f"{study}: mAP by margin",
            {"ArcFace, scale 1, exact gradient": {margin: point(estimate) for margin, estimate in known.items()}},
            x="margin, rad",
            y="mAP, %",
            level=("cross-entropy", base.mean) if base else None,
        )
        figures.append(Figure(f"figure-2-{study.replace('/', '-')}", f"figure 2, {study}: mAP against the margin", svg))
        text.append(f"{study}: {shape(lines, study)}")
    return Section("Figure 2: mAP against the margin", tuple(text), figures=tuple(figures)) if figures else None


def shape(lines: Sequence[Record], study: str) -> str:
    """Whether small margins help or are neutral and margins of 2 and more break, as in the paper, in a sentence."""
    base = _map(lines, study, arcface(0.0))
    small = seeds.paired(_map(lines, study, arcface(0.1)), base)
    level = seeds.over(base)
    large = [value for m in (2.0, 2.5) if (value := seeds.over(_map(lines, study, arcface(m)))) is not None]
    if small is None or small.ci95 is None or level is None or not large:
        return "too few runs to tell the curve's shape."
    first = "harms" if small.ci95[1] < 0 else "helps" if small.ci95[0] > 0 else "is neutral"
    breaks = all(value.mean < BROKEN * level.mean for value in large)
    has = "has" if first != "harms" and breaks else "does not have"
    second = "break" if breaks else "do not all break"
    return (
        f"a margin of 0.1 rad {first} ({said(small, '+')} points of mAP against 0 rad), margins of 2 rad and more "
        f"{second} (under half of the mAP at 0 rad): the curve {has} the paper's shape."
    )


def gradients(lines: Sequence[Record]) -> Section | None:
    """The gradient study: top-1 by margin with both forms, at scale auto."""
    study = "cifar10/resnet8"
    margins = sorted({line.config["recipe"]["head_options"]["margin_rad"] for line in _auto(lines, study)})
    if not margins:
        return None
    series, rows = {}, []
    for form, name in FORMS.items():
        found = {m: seeds.over(_map(lines, study, arcface(m, "auto", form), "accuracy")) for m in margins}
        series[f"{name} gradient"] = {m: point(value) for m, value in found.items() if value is not None}
    base = _map(lines, study, CROSS_ENTROPY, "accuracy")
    for margin in margins:
        of = [_map(lines, study, arcface(margin, "auto", form), "accuracy") for form in FORMS]
        row = [said(seeds.over(by_seed)) for by_seed in of]
        rows.append((f"{margin:g}", *row, said(seeds.paired(of[1], of[0]), "+"), said(seeds.paired(of[1], base), "+")))
    level = seeds.over(base)
    svg = plots.curves_with_intervals(
        "gradients",
        "top-1 by margin and form of the gradient",
        series,
        x="margin, rad",
        y="top-1, %",
        level=("cross-entropy", level.mean) if level else None,
    )
    text = (
        "The exact gradient of cos(theta + m) grows without bound as theta goes to 0, where features lie early in "
        "training: with a scale that can train at all, margins beyond the smallest then fail, which is why the paper "
        "found only small ones usable. The straight-through gradient has the same forward value and factor 1.",
    )
    header = ("margin, rad", "exact", "straight-through", "straight-through − exact", "straight-through − CE")
    return Section(
        "The gradient study: exact against straight-through",
        text,
        (Table(f"Top-1, {study}, scale auto.", header, rows),),
        (Figure("gradients", "top-1 against the margin, scale auto", svg),),
    )


def _auto(lines: Sequence[Record], study: str) -> list[Record]:
    """Lines with an ArcFace head of scale auto, without a linear loss."""
    return [line for line in seeds.of(lines, study) if line.config["recipe"]["head_options"].get("scale") == "auto"]


SCALE_STUDIES = ("cifar10/resnet8", "cifar100/resnet8", "exemplars/resnet8")


def scales(lines: Sequence[Record]) -> Section | None:
    """The scale study: 1 against auto as classes grow; top-1 as a share of cross-entropy's."""
    rows, shares = [], dict[str, dict[float, dict[str, Any]]]()
    for study in SCALE_STUDIES:
        inside = seeds.of(lines, study)
        base = _map(lines, study, CROSS_ENTROPY, "accuracy")
        if not base:
            continue
        k = _classes(inside)
        of = {"scale 1 (paper)": PAPER, "scale auto": DEFAULT}
        found = {name: _map(lines, study, recipe, "accuracy") for name, recipe in of.items()}
        for name, by_seed in found.items():
            share = seeds.over({seed: value / base[seed] for seed, value in by_seed.items() if base.get(seed)})
            if share is not None:
                shares.setdefault(name, {})[k] = point(share)
        gains = [said(seeds.paired(by_seed, base), "+") for by_seed in found.values()]
        rows.append((f"{k:,}", *(said(seeds.over(each)) for each in (base, *found.values())), *gains))
    if not rows:
        return None
    svg = plots.curves_with_intervals(
        "scales",
        "top-1 as a share of cross-entropy's by number of classes",
        shares,
        x="classes",
        y="top-1, % of cross-entropy's",
        logarithmic=True,
        level=("cross-entropy", 1.0),
    )
    header = ("classes", "cross-entropy", "scale 1, exact", "scale auto", "scale 1 − CE", "scale auto − CE")
    text = (
        "At scale 1 the largest reachable probability is 0.45, 0.07 and 0.007 for 10, 100 and 1,000 classes. The "
        "largest set has a class for each of many CIFAR-100 images, drawn again and again in patches and colors.",
    )
    return Section(
        "The scale study: 1 against auto",
        text,
        (Table("Top-1.", header, rows),),
        (Figure("scales", "top-1 as a share of cross-entropy's", svg),),
    )


def _classes(lines: Sequence[Record]) -> int:
    return next(line.details["class_count"] for line in lines)


def first_figure(lines: Sequence[Record]) -> Section | None:
    """Figure 1: features of a plane, regions and class vectors of three heads."""
    figures: list[Figure] = []
    for line in seeds.of(lines, "plane"):
        if "plane" not in line.details:
            continue
        kept = line.details["plane"]
        svg = plots.plane(
            f"plane{len(figures)}",
            f"features and decision boundaries of {line.recipe}",
            np.array(kept["points"]),
            np.array(kept["labels"]),
            line.details["classes"],
            weights=np.array(kept["weights"]),
            bias=None if kept["bias"] is None else np.array(kept["bias"]),
        )
        accuracy = 100 * seeds.values([line], "accuracy")[line.seed]
        name = f"figure-1-{line.recipe.split()[0]}"
        figures.append(Figure(name, f"{line.recipe}: top-1 {accuracy:.1f} %", svg))
    if not figures:
        return None
    text = (
        "Test images of three classes as a network with two features sees them; shaded: where each class is predicted; "
        "arrows: class vectors. A linear head draws its boundaries by products and bias, the others by angle alone; "
        "a margin asks of every class that it keep a distance in angle from the boundary.",
    )
    return Section("Figure 1: decision boundaries and margins of three classes", text, figures=tuple(figures))
