"""The recipes: what each one changes, its definition, options, cost, and evidence from committed comparisons."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

from docstring_parser.google import DEFAULT_SECTIONS, GoogleParser, Section, SectionType

from afield.adaptation import ADAPTATIONS
from afield.algorithms import ALGORITHMS, AVERAGINGS
from afield.combinations import COMBINATIONS
from afield.heads import HEADS
from afield.losses import LOSSES
from afield.recipes import RECIPES, Recipe
from afield.records import read_json, read_summary
from afield.registry import Entry
from pages.algorithms import time_over_erm
from pages.results import at_new_place
from pages.tables import ROOT, filled, interval, table

GIVEN = {"classifier", "domain_sizes", "algorithm", "in_features", "num_classes"}
GIVEN |= {"logits", "targets", "weight", "ignore_index"}
"""Parameters of parts that the training loop gives; all others are options."""


PARSER = GoogleParser([*DEFAULT_SECTIONS, Section("References", "references", SectionType.SINGULAR)])


def recipes_page() -> str:
    """The list of recipes, and a section for each."""
    listed = table(("name", "description"), [(f"[`{each.name}`](#{each.name})", each.summary) for each in RECIPES])
    evidence, described = _evidence(), dict[str, str]()
    sections = ["\n".join(_section(entry, evidence.get(entry.name, []), described)) for entry in RECIPES]
    return filled("recipes.md.in", {"recipes": listed, "sections": "\n".join(sections)})


def _section(entry: Entry[Recipe], evidence: list[str], described: dict[str, str]) -> Iterator[str]:
    """The text of a recipe. A part that an earlier section describes is a link to it."""
    name = entry.name
    yield f"### {name}\n"
    yield f"Objective: {_objective(entry.value)}.\n"
    for kind, part, value in _parts(entry.value):
        if (home := described.setdefault(f"{kind} {part}", name)) == name:
            yield from _described(kind, part, value)
        else:
            yield f"{kind} `{part}`: see [{home}](#{home}).\n"
    if name not in described.values():
        yield f"Source: {entry.reference}\n"
    if (cost := time_over_erm().get(name)) is not None and name != "erm":
        yield f"Cost: a step takes {cost:.2f} times as long as one of `erm`.\n"
    if evidence:
        yield "Evidence, accuracy in points relative to `erm`:\n"
        yield from evidence
        yield ""


def _objective(recipe: Recipe) -> str:
    """The weighted losses, the head, the augmentation, and the training settings of a recipe."""
    terms = [f"{weight:g} x `{loss}`" for loss, weight in recipe.losses.items()]
    terms += [f"{weight:g} x `{loss}` of the linear layer" for loss, weight in recipe.linear_losses.items()]
    text = f"{' + '.join(terms)}, head `{recipe.head}`"
    options = {**recipe.head_options, **recipe.training}
    options |= {f"{loss} {name}": value for loss, own in recipe.loss_options.items() for name, value in own.items()}
    options |= {} if recipe.start is None else {"start": recipe.start}
    options |= {} if recipe.augment is None else {"augmentation": recipe.augment}
    options |= {f"{recipe.algorithm} {name}": value for name, value in recipe.algorithm_options.items()}
    options |= {f"{recipe.averaging} {name}": value for name, value in recipe.averaging_options.items()}
    return text + "".join(f", {key} `{value}`" for key, value in options.items())


def _parts(recipe: Recipe) -> Iterator[tuple[str, str, Any]]:
    """What a recipe has instead of the parts of `erm`: kind, name, and class or function."""
    erm = RECIPES["erm"]
    yield from (("Loss", name, LOSSES[name]) for name in recipe.losses if name not in erm.losses)
    if recipe.head != erm.head:
        yield "Head", recipe.head, HEADS[recipe.head]
    if recipe.algorithm != erm.algorithm:
        yield "Algorithm", recipe.algorithm, ALGORITHMS[recipe.algorithm]
    if recipe.averaging is not None:
        yield "Averaging", recipe.averaging, AVERAGINGS[recipe.averaging]
    if recipe.combination is not None:
        yield "Combination", recipe.combination, COMBINATIONS[recipe.combination]
    yield from (("Adaptation", name, ADAPTATIONS[name]) for name in recipe.adaptation)


def _described(kind: str, name: str, value: Any) -> Iterator[str]:
    """Definition, options with their defaults, and source of a part, from its docstring and signature."""
    function = getattr(value, "function", value)
    about = PARSER.parse(inspect.getdoc(function) or "")
    yield f"{kind} `{name}`. {about.short_description}\n"
    if about.long_description:
        yield f"{about.long_description}\n"
    yield from _options(function, {each.arg_name: each.description or "" for each in about.params})
    sources = [each.description or "" for each in about.meta if each.args == ["references"]]
    yield from (f"Source: {' '.join(text.split())}\n" for text in sources)


def _options(function: Callable[..., Any], described: dict[str, str]) -> Iterator[str]:
    parameters = inspect.signature(function).parameters.values()
    found = [each for each in parameters if each.name not in GIVEN and each.default is not each.empty]
    for each in found:
        yield f"- `{each.name}`, default `{each.default!r}`: {' '.join(described.get(each.name, '').split())}"
    if found:
        yield ""


def _evidence() -> dict[str, list[str]]:
    """The differences to `erm` in the committed comparisons, as lines of a list, by recipe."""
    lines: dict[str, list[str]] = {}
    for path in sorted((ROOT / "results").glob("*/about.json")):
        title = read_json(path)["title"]
        anchor = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
        for name, row in read_summary(path.with_name("summary.json")).recipes.items():
            if row.vs_erm is None or name == "erm":
                continue
            new = f"; new place {at_new_place(row.at_new_place)}" if row.at_new_place else ""
            text = f"{interval(row.vs_erm.as_dict(), '+')} over {row.vs_erm.n} seeds{new}"
            lines.setdefault(name, []).append(f"- [{title}](results.md#{anchor}): {text}")
    return lines
