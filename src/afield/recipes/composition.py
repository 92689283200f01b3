"""Composition of several recipes into one."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from afield.errors import InputError
from afield.recipes.recipe import Recipe

LEFT_OUT: Final = "(left out)"
"""Value of a key that exists in the default recipe, but not in this one."""

Change = dict[tuple[str, ...], Any]


def changes(fields: Mapping[str, Any], default: Mapping[str, Any]) -> Change:
    """The fields that differ from the defaults, as path -> value. Mappings are compared key by key.

    >>> changes({"head": "linear", "losses": {"focal": 1.0}}, {"head": "linear", "losses": {"cross_entropy": 1.0}})
    {('losses', 'cross_entropy'): '(left out)', ('losses', 'focal'): 1.0}
    """
    found: Change = {}
    for name in dict.fromkeys((*default, *fields)):
        new, old = fields.get(name, LEFT_OUT), default.get(name, LEFT_OUT)
        if isinstance(new, Mapping) and (isinstance(old, Mapping) or old == LEFT_OUT):
            inner = changes(new, old if isinstance(old, Mapping) else {})
            found |= {(name, *path): value for path, value in inner.items()}
        elif new != old:
            found[name,] = new
    return found


def compose(name: str, recipes: Sequence[Recipe]) -> Recipe:
    """A recipe called `name` that combines the changes of all given recipes. Their adaptations are applied in order.

    Raises:
        InputError: if two recipes set a field to different values, or a recipe is given twice.
    """
    fields = [{**dataclasses.asdict(recipe), "name": name} for recipe in recipes]
    named = {recipe.name: own for recipe, own in zip(recipes, fields, strict=True)}
    if len(named) < len(fields):
        raise InputError(f"{name}: a recipe is named twice")
    return Recipe(**merged(named, dataclasses.asdict(Recipe(name))))


def merged(recipes: Mapping[str, Mapping[str, Any]], default: Mapping[str, Any]) -> dict[str, Any]:
    """The default fields with the changes of all recipes. Tuples are joined, in the order of the recipes.

    Args:
        recipes: fields of each recipe, by recipe name.
        default: fields of the default recipe.

    Raises:
        InputError: if two recipes set a field to different values.
    """
    together: Change = {}
    owner: dict[tuple[str, ...], str] = {}
    for name, fields in recipes.items():
        for path, value in changes(fields, default).items():
            if isinstance(value, tuple):
                value = together.get(path, ()) + value
            elif path in together and together[path] != value:
                what = f"{owner[path]!r} has {together[path]!r} and {name!r} has {value!r}"
                raise InputError(f"{'+'.join(recipes)}: the recipes conflict in {'.'.join(path)}: {what}")
            together[path], owner[path] = value, name
    result = dict(default)
    for path, value in together.items():
        result = _put(result, path, value)
    return result


def _put(fields: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    if rest:
        return {**fields, first: _put(fields.get(first, {}), rest, value)}
    return {name: kept for name, kept in {**fields, first: value}.items() if kept != LEFT_OUT}
