"""Resolution of recipes by name, from files and from installed packages, with overrides."""

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from afield.deprecated import current
from afield.errors import InputError, first_line, unknown_name
from afield.recipes.composition import compose
from afield.recipes.library import RECIPES
from afield.recipes.recipe import Recipe
from afield.settings import TrainConfig
from afield.validation import settings_of

FIELDS = {field.name for field in dataclasses.fields(Recipe)}
SETTINGS = settings_of(TrainConfig).keys()


def resolve(names: Sequence[str], overrides: Sequence[str] = ()) -> tuple[Recipe, ...]:
    """Get recipes by name, from a file (``.toml``, ``.yaml``, ``.json``) or from an installed package.

    Args:
        names: registry names, also those of installed packages, or files. Names joined by ``+``, for example
            ``coral+flattening``, are composed into one recipe with the changes of all of them.
        overrides: ``FIELD=VALUE`` for all recipes or ``RECIPE.FIELD=VALUE`` for one recipe. FIELD is a field of
            `Recipe`, a key of a mapping (``flattening.losses.complement_flattening=1.0``) or a training setting
            (``irm.learning_rate=0.001``). Values are JSON or plain text; null means the shared setting.

    Raises:
        InputError: if a name is unknown or repeated, recipes conflict, a field does not exist, or a value is not
            allowed.
    """
    recipes = {}
    for name in names:
        recipe = _find(name)
        if recipe.name in recipes:
            raise InputError(f"recipe {recipe.name!r} is given twice")
        recipes[recipe.name] = recipe
    if not recipes:
        raise InputError("no recipe to run; allowed: " + ", ".join(RECIPES.names))
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--set {override!r}: expected FIELD=VALUE or RECIPE.FIELD=VALUE")
        first, _, rest = path.partition(".")
        targets = [first] if first in recipes else list(recipes)
        steps = [current("setting", step) for step in (rest if first in recipes else path).split(".")]
        for target in targets:
            recipes[target] = replace_setting(recipes[target], steps, _value(text), f"--set {override!r}")
    return tuple(recipes.values())


def _find(name: str) -> Recipe:
    name = current("recipe", name)
    if name in RECIPES:
        return RECIPES[name]
    if "+" in name and not Path(name).is_file():
        return compose(name, [_find(part) for part in name.split("+")])
    if Path(name).suffix in (".toml", ".yaml", ".yml", ".json"):
        return read_recipe(Path(name))
    unknown_name("recipe", name, RECIPES.known)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a TOML, YAML or JSON file with fields of `Recipe` and training settings.

    The default of `name` is the name of the file.

    Raises:
        InputError: if the file cannot be read, a field is unknown, or a value is not allowed.
    """
    try:
        text = path.read_text()
        content = tomllib.loads(text) if path.suffix == ".toml" else yaml.load(text, _Loader)
    except FileNotFoundError:
        raise InputError(f"no recipe file {path}") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as a recipe: {first_line(error)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: a recipe must be a table of fields, got {type(content).__name__}")
    return recipe_from({"name": path.stem, **content}, str(path))


class _Loader(yaml.SafeLoader):
    """Loads YAML without aliases, because with them a short file can expand to any size."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)


def recipe_from(fields: Mapping[str, Any], where: str) -> Recipe:
    """Create a recipe from its fields.

    Training settings can be in ``training`` or on the same level as it; None means the shared value.

    Raises:
        InputError: if a field is unknown, or a value is not allowed. The message contains `where`.
    """
    for name in fields:
        if name not in FIELDS | SETTINGS:
            unknown_name(f"recipe field in {where}", str(name), FIELDS | SETTINGS)
    if "name" not in fields:
        raise InputError(f"{where}: the recipe has no name")
    recipe = Recipe(**{name: value for name, value in fields.items() if name in FIELDS})
    beside = {name: value for name, value in fields.items() if name not in FIELDS and value is not None}
    return dataclasses.replace(recipe, training={**recipe.training, **beside})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def replace_setting(recipe: Recipe, steps: Sequence[str], value: Any, where: str) -> Recipe:
    """A recipe with one setting replaced.

    Args:
        recipe: recipe to change.
        steps: a training setting, or a field of `Recipe` and keys in it, such as ``("algorithm_options", "penalty")``.
        value: new value; None for a training setting means the shared value.
        where: source of the value, for error messages.

    Raises:
        InputError: if the field does not exist, or the value is not allowed.
    """
    if steps[0] in SETTINGS - FIELDS:
        steps = ("training", *steps)
    name, *inner = steps
    if name not in FIELDS | SETTINGS or name == "name":
        unknown_name(f"recipe field in {where}", name, (FIELDS | SETTINGS) - {"name"})
    if inner:
        if not isinstance(getattr(recipe, name), Mapping):
            raise InputError(f"{where}: {name} has no fields of its own")
        value = _nested(getattr(recipe, name), inner, value, where)
    if name == "training" and isinstance(value, Mapping):
        value = {setting: own for setting, own in value.items() if own is not None}
    return dataclasses.replace(recipe, **{name: value})


def _nested(mapping: Mapping[str, Any], steps: Sequence[str], value: Any, where: str) -> dict[str, Any]:
    first, *rest = steps
    if not rest:
        return {**mapping, first: value}
    inner = mapping.get(first, {})
    if not isinstance(inner, Mapping):
        raise InputError(f"{where}: {first} has no fields of its own")
    return {**mapping, first: _nested(inner, rest, value, where)}
