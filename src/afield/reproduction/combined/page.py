"""The page of the combined papers."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from afield.evaluation import Estimate
from afield.records import Record
from afield.reporting import plots
from afield.reporting.document import Figure, Section, Table, said
from afield.reproduction import seeds
from afield.reproduction.combined.plan import BASE, COMBINATIONS, PARTS, studies
from afield.reproduction.paper import Paper, learning_steps, study_caption

LEVEL = 0.05
"""Joint error level of all comparisons with the base on one data set."""

Gains = Mapping[str, Mapping[str, Estimate]]
"""Paired differences to the base by data set and recipe, with intervals at the corrected level."""


def default_recipe(gains: Gains) -> tuple[str, str]:
    """Select the recommended default recipe; returns its name and the reason.

    It is the recipe with the largest mean gain over all data sets, among the recipes that are significantly better than
    the base on at least one data set and significantly worse on none. If there is no such recipe, it is the base.
    """
    everywhere = set.intersection(*(set(by_recipe) for by_recipe in gains.values())) if gains else set()
    means = {}
    for recipe in sorted(everywhere):
        found = [by_recipe[recipe] for by_recipe in gains.values()]
        intervals = [each.ci95 for each in found if each.ci95 is not None]
        if any(low > 0 for low, _ in intervals) and not any(high < 0 for _, high in intervals):
            means[recipe] = sum(each.mean for each in found) / len(found)
    if not means:
        why = f"no other recipe is significantly better than {BASE} on one data set and significantly worse on none"
        return BASE, why
    best = max(means, key=lambda recipe: means[recipe])
    better = [name for name, by_recipe in gains.items() if (span := by_recipe[best].ci95) and span[0] > 0]
    return best, (
        f"{100 * means[best]:+.1f} points on average over the data sets; significantly better than {BASE} on "
        f"{', '.join(better)}, significantly worse on none"
    )


def gains_of(lines: Sequence[Record]) -> dict[str, dict[str, Estimate]]:
    """Compute `Gains`. The joint level of the intervals is 95 % over the recipes of a data set (Bonferroni).

    If learned augmentation is not applicable, a recipe equals the recipe without it.
    """
    found: dict[str, dict[str, Estimate]] = {}
    for study in seeds.studies(lines):
        base, recipes = seeds.of_recipe(lines, study, BASE), seeds.names(seeds.of(lines, study))
        level = 1 - LEVEL / max(1, len(recipes) - 1)
        gains = {r: seeds.paired(seeds.of_recipe(lines, study, r), base, level=level) for r in recipes if r != BASE}
        inside = {recipe: gain for recipe, gain in gains.items() if gain is not None}
        for parts in COMBINATIONS[1:]:
            without = " + ".join(part for part in parts if part != "learned augmentation") or BASE
            same = Estimate(0.0, 0.0, len(base), (0.0, 0.0)) if without == BASE else inside.get(without)
            if " + ".join(parts) not in recipes and same is not None and inside:
                inside[" + ".join(parts)] = same
        if inside:
            found[study] = inside
    return found


def decision(lines: Sequence[Record]) -> Iterator[Section]:
    """The recommended recipe, and the rule behind it."""
    gains = gains_of(lines)
    recipe, why = default_recipe(gains)
    names = [" + ".join(parts) for parts in COMBINATIONS[1:]]
    rows = [(name, *(_cell(lines, study, name, gains[study].get(name)) for study in gains)) for name in names]
    text = (
        f"Recommended default: {recipe}; {why}.",
        "Rule: epochs are selected on validation images of the training domains. Among the recipes that are "
        f"significantly better than {BASE} on at least one data set and significantly worse on none, the recipe with "
        "the largest mean gain is chosen. The paired intervals have a joint level of 95 % over the recipes of a data "
        "set (Bonferroni). They are over seeds, on these domains. At a new place, with domains and seeds both random, "
        f"{_at_new_place(lines)}",
        "Learned augmentation is not applicable to heads on frozen features, because they do not use images. A recipe "
        "with it counts as the recipe without it.",
        collapses(lines),
    )
    caption = f"Difference of accuracy to {BASE}, paired by seed, with intervals at the corrected level."
    yield Section("The recommended recipe", text, (Table(caption, ("recipe", *gains), rows),))


def collapses(lines: Sequence[Record]) -> str:
    """The number of collapsed augmentors by kind of collapse, and the number of steps of learning, in sentences."""
    learned = [line.learned.collapses for line in lines if line.learned]
    counts = Counter(name for found in learned for name in found)
    said_so = ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
    if not learned:
        return ""
    return (
        f"Collapses among {len(learned)} learned augmentors: {said_so}. Steps of learning: {learning_steps(lines)}. "
        "By default an augmentation is learned for at least 400 steps; docs/augmentation.md explains why."
    )


def _at_new_place(lines: Sequence[Record]) -> str:
    """The recipes whose difference to the base at a new place is significantly above zero, as the end of a sentence."""
    found = []
    for study in seeds.studies(lines):
        recipes = [recipe for recipe in seeds.names(seeds.of(lines, study)) if recipe != BASE]
        level = 1 - LEVEL / max(1, len(recipes))
        places = {recipe: seeds.at_new_place(lines, study, recipe, BASE, level=level) for recipe in recipes}
        found += [f"{name} on {study}" for name, place in places.items() if place and place.ci95 and place.ci95[0] > 0]
    return f"better with these intervals: {', '.join(found)}." if found else "no interval lies above zero."


def _cell(lines: Sequence[Record], study: str, recipe: str, gain: Estimate | None) -> str:
    run = recipe in seeds.names(seeds.of(lines, study))
    return said(gain, "+") if run else "not applicable" if "learned augmentation" in recipe else "–"


def tables(lines: Sequence[Record]) -> Iterator[Section]:
    """Accuracy by unseen part for each data set, and a figure of the differences to the base."""
    for index, study in enumerate(seeds.studies(lines)):
        inside = seeds.of(lines, study)
        unseen, rows, bars, figures = seeds.parts(inside), [], {}, []
        several, column = (unseen, "average") if len(unseen) != 1 else ([], unseen[0])
        base = seeds.of_recipe(lines, study, BASE)
        for recipe in seeds.names(inside):
            average = seeds.of_recipe(lines, study, recipe)
            gain = seeds.paired(average, base)
            of_recipe = seeds.of(inside, study, recipe)
            row = {
                "recipe": recipe,
                column: said(seeds.over(average)),
                f"− {BASE}": said(gain, "+") if recipe != BASE else "",
                **{part: said(seeds.over(seeds.values(of_recipe, "accuracy", part))) for part in several},
                "ECE": said(seeds.over(seeds.values(of_recipe, "ece"))),
            }
            rows.append(row)
            if gain is not None and recipe != BASE:
                bars[recipe.replace(" augmentation", "")] = gain
        if bars:
            label = f"{study}: accuracy, difference to {BASE}"
            svg = plots.dots_with_intervals(f"gains{index}", label, bars, x=f"points of accuracy, − {BASE}", line=0)
            name = f"gains-{study.lower().replace(', ', '-').replace(' ', '-')}"
            figures.append(Figure(name, label, svg))
        yield Section(study, tables=(Table.of(study_caption(inside), rows),), figures=tuple(figures))


def against_parts(lines: Sequence[Record]) -> Iterator[Section]:
    """Whether combinations are better than each of their parts alone, by study."""
    shown = []
    for study in seeds.studies(lines):
        found = gains_over_parts(lines, study)
        rows = []
        for name, by_part in found.items():
            spans = [gain.ci95 for gain in by_part.values()]
            better = "yes" if all(span is not None and span[0] > 0 for span in spans) else "no"
            rows.append({"recipe": name, **{f"− {p}": said(by_part.get(p), "+") for p in PARTS}, "better": better})
        if rows:
            shown.append(Table.of(f"{study}.", rows))
    text = (
        "Difference of accuracy between a combination and each of its parts alone, paired by seed. A combination is "
        "better if all of its intervals lie above zero. The level of 95 % is corrected for the number of combinations "
        "on a data set (Bonferroni).",
    )
    if shown:
        yield Section("Combinations and their parts", text, tuple(shown))


def gains_over_parts(lines: Sequence[Record], study: str) -> dict[str, dict[str, Estimate]]:
    """Paired differences of each combination in a study to each of its parts, at the corrected level.

    To be better than each part is a single claim about a combination (an intersection-union test), so the level is
    corrected for the number of combinations only.

    References:
        Berger, "Multiparameter Hypothesis Testing and Acceptance Sampling", Technometrics 1982.
    """
    there = seeds.names(seeds.of(lines, study))
    pairs = {
        " + ".join(parts): parts for parts in COMBINATIONS if len(parts) > 1 and {" + ".join(parts), *parts} <= {*there}
    }
    level = 1 - LEVEL / max(1, len(pairs))
    accuracy = {name: seeds.of_recipe(lines, study, name) for name in there}
    found: dict[str, dict[str, Estimate]] = {}
    for name, parts in pairs.items():
        gains = {part: seeds.paired(accuracy[name], accuracy[part], level=level) for part in parts}
        if None not in gains.values():
            found[name] = {part: gain for part, gain in gains.items() if gain is not None}
    return found


SECTIONS = (decision, against_parts, tables)
COMBINED = Paper("combined", "The three papers together", studies, SECTIONS)
