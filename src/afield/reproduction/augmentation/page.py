"""The page of paper B: learned augmentation."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from afield.evaluation import diagnose, estimate
from afield.records import Learned, Record
from afield.reporting import plots
from afield.reporting.document import Figure, Section, Table, said
from afield.reproduction import seeds
from afield.reproduction.augmentation.arms import BASELINE, CORRECTED_SIGN, METHOD, METHOD_ALONE
from afield.reproduction.augmentation.plan import PAIRS, STUDY, studies
from afield.reproduction.paper import Judged, Paper, learning_steps, set_up, verdict_table
from afield.reproduction.verdict import NOT_REPRODUCED, NOT_RUN, REPRODUCED, Verdict, differences

PUBLISHED = {BASELINE: 0.8736, METHOD: 0.8760}
"""Table 1: test accuracy."""

NOT_NEGATIVE = (0.0, math.inf)
"""The range of distances and ratios."""

NO_GAIN = 0.005
"""Largest difference that is no gain. In the paper, a difference of 0.24 points is no gain."""

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
"""Setup of the paper. Its optimizer Adam equals AdamW without weight decay."""


def _accuracy(lines: Sequence[Record], arm: str) -> seeds.BySeed:
    return seeds.values(seeds.of(lines, STUDY, arm), "accuracy")


def _learned(lines: Sequence[Record], arm: str | None = None) -> list[Learned]:
    """The learned augmentations of the runs of an arm, or of all runs."""
    return [line.learned for line in seeds.of(lines, STUDY, arm) if line.learned]


def _collapses(learned: Learned) -> dict[str, str]:
    return diagnose(learned.measures, learned.settings)


def _second_epochs(lines: Sequence[Record]) -> int | None:
    """The number of epochs of learning an augmentor; None if no run learned one."""
    return next((learned.settings["epochs"] for learned in _learned(lines)), None)


def _images(epoch: Mapping[str, Mapping[str, float]], part: str) -> Mapping[str, float]:
    """The measures on training or test images. In version 1, the key of test images is ``test``, not ``test/test``."""
    return next(measures for name, measures in epoch.items() if name.partition("/")[0] == part)


def verdicts(lines: Sequence[Record]) -> Iterator[Section]:
    """Verdicts on table 1, on the claim of no gain, and on the collapse to the identity."""
    change = differences({**lines[0].config, "second_epochs": _second_epochs(lines)}, PROTOCOL)
    if lines[0].images["train"] < 40_000:
        change.append(f"{lines[0].images['train']:,} training images")
    plain, method = (_accuracy(lines, arm) for arm in (BASELINE, METHOD))
    gain = PUBLISHED[METHOD] - PUBLISHED[BASELINE]
    judged = [
        Judged.value("table 1: baseline", PUBLISHED[BASELINE], plain, change),
        Judged.value("table 1: method", PUBLISHED[METHOD], method, change),
        Judged.difference("table 1: method − baseline, no gain", gain, seeds.paired(method, plain), tolerance=NO_GAIN),
        *collapse_claims(lines),
    ]
    caption = "Test accuracy in %. Distances are those of the affine parameters from the identity, not in %."
    yield Section("Published numbers and claims", tables=(verdict_table(caption, judged),))


def collapse_claims(lines: Sequence[Record]) -> Iterator[Judged]:
    """Claims on the collapse: of the method, without the discriminator D, and with the corrected sign."""
    for arm, text, collapses in (
        (METHOD, "text: the augmentor collapses to the identity (distance)", True),
        (METHOD_ALONE, "beyond the paper: it also collapses without D, the cause in the paper (distance)", True),
        (CORRECTED_SIGN, "beyond the paper: it does not collapse with the corrected sign (distance)", False),
    ):
        found = _learned(lines, arm)
        verdict, distance = Verdict(NOT_RUN), None
        if found:
            count = sum("identity" in _collapses(learned) for learned in found)
            as_claimed = count == (len(found) if collapses else 0)
            why = f"identity in {count} of {len(found)} runs, one setup"
            verdict = Verdict(REPRODUCED if as_claimed else NOT_REPRODUCED, why)
            distance = estimate([learned.measures["distance"] for learned in found], within=NOT_NEGATIVE)
        yield Judged(text, "−", distance, verdict, factor=1, digits=3)


def table(lines: Sequence[Record]) -> Iterator[Section]:
    """Table 1, with all arms."""
    rows = []
    for arm in seeds.names(lines):
        found = _accuracy(lines, arm)
        row = {"augmentation": arm, "test accuracy": said(seeds.over(found))}
        for column, rival in (("− none", BASELINE), ("− random affine", "random_affine")):
            row[column] = "" if arm == rival else said(seeds.paired(found, _accuracy(lines, rival)), "+")
        row["steps of learning"] = learning_steps(seeds.of(lines, STUDY, arm))
        seconds = [learned.search_s for learned in _learned(lines, arm)]
        rows.append(row | {"search, CPU s": f"{np.mean(seconds):.0f}" if seconds else ""})
    tuning = lines[0].config["tuning"]
    caption = (
        f"Stage one: {set_up(lines[0])} Stage two: at most {_second_epochs(lines)} epochs; stage three: "
        f"{tuning['epochs']} epochs with learning rate {tuning['learning_rate']:g}. Accuracy of the last epoch; n = "
        f"{len({line.seed for line in lines})} seeds. The baseline, none, has stages one and three. "
        "docs/augmentation.md compares the default with a random affine transformation of the same size, and explains "
        "why its gain is larger there."
    )
    yield Section("Table 1: accuracy", tables=(Table.of(caption, rows),))


def losses(lines: Sequence[Record]) -> Iterator[Section]:
    """Figure 2: adversarial losses of G and D by epoch, on training and test images, for both signs."""
    figures = []
    for arm, sign in ((METHOD, "printed"), (CORRECTED_SIGN, "corrected")):
        found = [learned.epochs for learned in _learned(lines, arm)]
        for measure, name in (("augmentor_loss", "G"), ("discriminator_loss", "D")):
            if found:
                series = {
                    f"{part} images": {
                        float(epoch): estimate([_images(each, part)[measure] for each in runs])
                        for epoch, runs in enumerate(zip(*found, strict=True))
                    }
                    for part in ("train", "test")
                }
                key, title = f"figure-2-{name}-{sign}", f"figure 2, {arm}: adversarial loss of {name}"
                svg = plots.curves_with_intervals(key, title, series, x="epoch", y="loss", factor=1)
                figures.append(Figure(key, title, svg))
    text = ("Mean over seeds with 95 % intervals. Epoch 0 is before training.",)
    if figures:
        yield Section("Figure 2: adversarial losses", text, figures=tuple(figures))


def pictures(lines: Sequence[Record]) -> Iterator[Section]:
    """Figure 3: test images above their augmented versions."""
    figures = []
    for line in lines:
        if "pairs" in line.details:
            side = line.config["data"]["image_size"]
            title = f"figure 3, {line.recipe}: original images (top) and augmented images (bottom)"
            svg = plots.strip(title, line.details["pairs"], PAIRS * side, 2 * side)
            name = f"figure-3-{line.recipe.replace(' + ', '-').replace(' ', '-')}"
            figures.append(Figure(name, title, svg))
    if figures:
        text = ("Test images of the first seed.",)
        yield Section("Figure 3: augmented images", text, figures=tuple(figures))


def study(lines: Sequence[Record]) -> Iterator[Section]:
    """The study of sign and collapse: measures of each augmentor on validation images."""
    rows = []
    for arm in seeds.names(lines):
        found = _learned(lines, arm)
        if not found:
            continue
        counts = Counter(name for learned in found for name in _collapses(learned))
        ends = [learned.measures for learned in found]
        right = [end["discriminator_accuracy"] for end in ends if "discriminator_accuracy" in end]
        known = [end["recognized_after"] / end["recognized_before"] for end in ends if end["recognized_before"]]
        distance, spread = (
            estimate([end[name] for end in ends], within=NOT_NEGATIVE) for name in ("distance", "image_spread")
        )
        gain = estimate([end["entropy_after"] - end["entropy_before"] for end in ends])
        row = {
            "augmentor": arm,
            "distance": said(distance, digits=3, factor=1),
            "spread over images": said(spread, digits=3, factor=1),
            "entropy gain, bits": said(gain, "+", digits=2, factor=1),
            "recognized, %": said(estimate(known, within=NOT_NEGATIVE) if known else None),
            "accuracy of D, %": said(estimate(right)) if right else "",
            "collapse": ", ".join(f"{name} ({n} of {len(found)})" for name, n in counts.items()) or "none",
        }
        rows.append(row)
    text = (
        "The printed loss, −log(log2 m − H), decreases with decreasing entropy H. Minimizing it lowers the entropy, "
        "contrary to the text of the paper. The identity is then close to optimal, and only transformations that "
        "destroy the images and leave the classifier certain are better. Minimizing log(log2 m − H) raises the "
        "entropy, but does not keep images recognizable. A teacher keeps them recognizable.",
    )
    caption = (
        "Measures on validation images. Recognized: accuracy of the teacher after augmentation, relative to before."
    )
    if rows:
        yield Section("The sign of the loss, and collapses of augmentors", text, (Table.of(caption, rows),))


SECTIONS = (verdicts, table, losses, pictures, study)
AUGMENTATION = Paper("augmentation", "Learned augmentation, seen as active learning (paper B)", studies, SECTIONS)
