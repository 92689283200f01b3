"""The page of paper B: learned augmentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from afield.evaluation import Estimate, diagnose, estimate
from afield.records import Record
from afield.reporting import plots
from afield.reporting.document import Figure, Section, Table, said
from afield.reproduction import seeds
from afield.reproduction.augmentation.arms import BASELINE, METHOD, METHOD_ALONE
from afield.reproduction.augmentation.plan import PAIRS, STUDY
from afield.reproduction.paper import Judged, set_up, verdict_table
from afield.reproduction.verdict import (
    NOT_REPRODUCED,
    NOT_RUN,
    REPRODUCED,
    Verdict,
    differences,
    judge_difference,
    judge_value,
)

PUBLISHED = {BASELINE: 0.8736, METHOD: 0.8760}
"""Table 1: test accuracy."""

NO_GAIN = 0.005
"""The paper calls its difference, 0.24 points, no gain."""

PROTOCOL = {
    "backbone.name": "resnet18",
    "training.epochs": 100,
    "training.optimizer": "adamw",
    "training.learning_rate": 0.1,
    "training.schedule": "constant",
    "tuning.epochs": 100,
    "tuning.learning_rate": 0.01,
    "second_epochs": 50,
}
"""Adam is AdamW without weight decay."""


def sections(lines: Sequence[Record]) -> Sequence[Section]:
    """The page."""
    found = [verdicts(lines), table(lines), losses(lines), pictures(lines), study(lines)]
    return [section for section in found if section is not None]


def _accuracy(lines: Sequence[Record], arm: str) -> seeds.BySeed:
    return seeds.values(seeds.of(lines, STUDY, arm), "accuracy")


def _measure(lines: Sequence[Record], arm: str, name: str) -> Estimate | None:
    """A measure of an arm's augmentor at the end, over seeds."""
    found = seeds.of(lines, STUDY, arm)
    return estimate([_gain(line) if name == "gain" else _measures(line)[name] for line in found]) if found else None


def _measures(line: Record) -> Mapping[str, float]:
    """Of the augmentor at the end, on validation images; empty where none was learned."""
    return line.learned.measures if line.learned else {}


def _gain(line: Record) -> float:
    """Of entropy, in bits."""
    return _measures(line)["entropy_after"] - _measures(line)["entropy_before"]


def _collapses(line: Record) -> dict[str, str]:
    return diagnose(_measures(line), line.learned.settings) if line.learned else {}


def _second_epochs(lines: Sequence[Record]) -> int | None:
    """Epochs in which augmentors were learned; None where none was."""
    return next((line.learned.settings["epochs"] for line in lines if line.learned), None)


def _images(epoch: Mapping[str, Mapping[str, float]], part: str) -> Mapping[str, float]:
    """Measures on the training or test images; version 1 called the latter ``test``, not ``test/test``."""
    return next(measures for name, measures in epoch.items() if name.partition("/")[0] == part)


def verdicts(lines: Sequence[Record]) -> Section:
    """Table 1, that there is no gain, and that the augmentor collapses to the identity."""
    config = {**lines[0].config, "second_epochs": _second_epochs(lines)}
    change = differences(config, PROTOCOL)
    if lines[0].images["train"] < 40_000:
        change.append(f"{lines[0].images['train']:,} training images")
    judged = []
    for arm, value in PUBLISHED.items():
        ours = seeds.over(_accuracy(lines, arm))
        name = "baseline" if arm == BASELINE else "method"
        judged.append(Judged(f"table 1: {name}", f"{100 * value:.2f}", ours, judge_value(value, ours, change)))
    printed = PUBLISHED[METHOD] - PUBLISHED[BASELINE]
    ours = seeds.paired(_accuracy(lines, METHOD), _accuracy(lines, BASELINE))
    verdict = judge_difference(printed, ours, tolerance=NO_GAIN)
    judged.append(Judged("table 1: method − baseline, no gain", f"{100 * printed:+.2f}", ours, verdict, "+"))
    judged += collapse_claims(lines)
    caption = "Test accuracy in %; distances of the affine parameters from the identity as they are."
    return Section("Published numbers and claims", tables=(verdict_table(caption, judged),))


def collapse_claims(lines: Sequence[Record]) -> Iterator[Judged]:
    """The paper's collapse; that the sign explains it without D; that the corrected sign does not do it."""
    for arm, text, collapses in (
        (METHOD, "text: the augmentor collapses to the identity (distance)", True),
        (METHOD_ALONE, "the same without D, which the paper blames (distance; the paper did not try)", True),
        ("corrected sign + D", "beyond the paper: with the sign corrected it does not (distance)", False),
    ):
        found = seeds.of(lines, STUDY, arm)
        verdict = Verdict(NOT_RUN)
        if found:
            count = sum("identity" in _collapses(line) for line in found)
            as_claimed = count == (len(found) if collapses else 0)
            verdict = Verdict(REPRODUCED if as_claimed else NOT_REPRODUCED, f"identity in {count} of {len(found)} runs")
        yield Judged(text, "−", _measure(lines, arm, "distance"), verdict, factor=1, digits=3)


def table(lines: Sequence[Record]) -> Section:
    """Table 1, with every arm."""
    rows = []
    for arm in seeds.names(lines):
        found = _accuracy(lines, arm)
        gains = [
            "" if arm == rival else said(seeds.paired(found, _accuracy(lines, rival)), "+")
            for rival in (BASELINE, "random_affine")
        ]
        seconds = [line.learned.search_s for line in seeds.of(lines, STUDY, arm) if line.learned]
        rows.append((arm, said(seeds.over(found)), *gains, f"{np.mean(seconds):.0f}" if seconds else ""))
    first = lines[0]
    tuning = first.config["tuning"]
    caption = (
        f"Stage one: {set_up(first)} Stage two: {_second_epochs(lines)} epochs; stage three: "
        f"{tuning['epochs']} epochs at {tuning['learning_rate']:g}. Last epoch; n = "
        f"{len({line.seed for line in lines})} seeds. The baseline, none, has stages one and three."
    )
    header = ("augmentation", "test accuracy", "− none", "− random affine", "search, CPU s")
    return Section("Table 1: accuracy", tables=(Table(caption, header, rows),))


def losses(lines: Sequence[Record]) -> Section | None:
    """Figure 2: adversarial losses of G and D by epoch on training and test images, for both signs."""
    figures = []
    for arm in (METHOD, "corrected sign + D"):
        found = [line.learned for line in seeds.of(lines, STUDY, arm) if line.learned]
        for measure, name in (("augmentor_loss", "G"), ("discriminator_loss", "D")):
            series = {
                f"{part} images": {
                    float(epoch): estimate([_images(learned.epochs[epoch], part)[measure] for learned in found])
                    for epoch in range(len(found[0].epochs))
                }
                for part in ("train", "test")
                if found
            }
            if series:
                title = f"figure 2, {arm}: adversarial loss of {name}"
                key = f"figure-2-{name}-{'printed' if arm == METHOD else 'corrected'}"
                svg = plots.curves_with_intervals(key, title, series, x="epoch", y="loss", factor=1)
                figures.append(Figure(key, title, svg))
    text = ("Mean over seeds with 95 % intervals, from epoch 0, which is untrained.",)
    return Section("Figure 2: adversarial losses", text, figures=tuple(figures)) if figures else None


def pictures(lines: Sequence[Record]) -> Section | None:
    """Figure 3: test images above their augmented versions."""
    figures = []
    for line in lines:
        if "pairs" in line.details:
            side = line.config["data"]["image_size"]
            title = f"figure 3, {line.recipe}: images above, augmented below"
            svg = plots.strip(title, line.details["pairs"], PAIRS * side, 2 * side)
            name = f"figure-3-{line.recipe.replace(' + ', '-').replace(' ', '-')}"
            figures.append(Figure(name, title, svg))
    text = ("Test images of the first seed.",)
    return Section("Figure 3: what the augmentor does", text, figures=tuple(figures)) if figures else None


def study(lines: Sequence[Record]) -> Section | None:
    """The sign and collapse study: what each augmentor came to on validation images."""
    rows = []
    for arm in seeds.names(lines):
        found = [line for line in seeds.of(lines, STUDY, arm) if line.learned]
        if not found:
            continue
        counts = Counter(name for line in found for name in _collapses(line))
        collapsed = ", ".join(f"{name} ({count} of {len(found)})" for name, count in counts.items()) or "none"
        ends = [_measures(line) for line in found]
        right = [measures["discriminator_accuracy"] for measures in ends if "discriminator_accuracy" in measures]
        known = [measures for measures in ends if measures["recognized_before"]]
        kept = [measures["recognized_after"] / measures["recognized_before"] for measures in known]
        rows.append(
            (
                arm,
                said(_measure(lines, arm, "distance"), digits=3, factor=1),
                said(_measure(lines, arm, "image_spread"), digits=3, factor=1),
                said(_measure(lines, arm, "gain"), "+", digits=2, factor=1),
                said(estimate(kept) if kept else None),
                said(estimate(right)) if right else "",
                collapsed,
            )
        )
    if not rows:
        return None
    text = (
        "The printed loss, −log(log2 m − H), falls as the entropy H falls. Minimizing it lowers the entropy, contrary "
        "to the paper's text, and the identity is then close to optimal. Minimizing log(log2 m − H) raises the "
        "entropy, but does not keep images recognizable; a teacher does.",
    )
    header = (
        "augmentor",
        "distance",
        "spread over images",
        "entropy gain, bits",
        "recognized, %",
        "D right, %",
        "collapse",
    )
    caption = "On validation images; recognized: of those that the teacher recognizes untransformed."
    return Section("The sign, and how augmentors collapse", text, (Table(caption, header, rows),))
