"""The search space of a recipe, and draws from it."""

import dataclasses
import inspect
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import numpy as np

from afield.algorithms import ALGORITHMS, AVERAGINGS
from afield.distributions import Distribution, read_distribution
from afield.errors import InputError, unknown_name
from afield.heads import HEADS
from afield.losses import LOSSES
from afield.recipes import Recipe, replace_setting
from afield.recipes.recipe import OWN_SETTINGS
from afield.records import seed_for
from afield.settings import TrainConfig
from afield.validation import settings_of

FIXED = "fixed"
"""Text in place of a distribution for a setting that keeps its default."""


@dataclass(frozen=True)
class Dimension:
    """A setting of a recipe: its default, and the distribution that it is drawn from, or None if it is not searched."""

    default: Any
    distribution: Distribution | None = None


Space = Mapping[str, Dimension]
"""Settings by name, as in ``--set``."""

Change = tuple[str, Distribution | None]
"""``NAME`` or ``RECIPE.NAME`` of a setting with the distribution that replaces its own; None if it is not searched."""


def settings_of_recipe(recipe: Recipe, shared: TrainConfig) -> dict[str, Dimension]:
    """All settings of a recipe with the distributions that are declared beside their definitions.

    Args:
        recipe: recipe with its parts.
        shared: training settings for all recipes.
    """
    training = recipe.train_config(shared)
    definitions = settings_of(TrainConfig)
    found = {
        name: Dimension(getattr(training, name), definitions[name].search)
        for name in definitions
        if name in OWN_SETTINGS
    }
    found |= {f"losses.{name}": Dimension(weight) for name, weight in recipe.losses.items()}
    for prefix, part, given in _parts(recipe):
        found |= {f"{prefix}.{name}": dimension for name, dimension in _options(part, given)}
    for name, text in recipe.search.items():
        if name not in found:
            unknown_name(f"setting in search of recipe {recipe.name!r}:", name, found)
        found[name] = dataclasses.replace(found[name], distribution=read_distribution(text))
    return found


def spaces(
    recipes: Sequence[Recipe], shared: TrainConfig, changes: Sequence[Change] = (), *, only: bool = False
) -> dict[str, Space]:
    """The space of each recipe, by name.

    Args:
        recipes: recipes to search.
        shared: training settings for all recipes.
        changes: distributions that replace the declared ones. One without a recipe is for all recipes that have this
            setting.
        only: whether settings without a change keep their defaults.

    Raises:
        InputError: if a setting is unknown, or a recipe has no setting to search.
    """
    known = {recipe.name: settings_of_recipe(recipe, shared) for recipe in recipes}
    found = {
        name: {path: dataclasses.replace(each, distribution=None) if only else each for path, each in settings.items()}
        for name, settings in known.items()
    }
    for name, distribution in changes:
        first, _, rest = name.partition(".")
        targets, path = ([first], rest) if first in known else (list(known), name)
        having = [target for target in targets if path in known[target]]
        if not having:
            unknown_name(f"setting of {' and '.join(targets)}:", path, {p for each in targets for p in known[each]})
        for target in having:
            found[target][path] = dataclasses.replace(known[target][path], distribution=distribution)
    searched: dict[str, Space] = {
        recipe: {path: each for path, each in settings.items() if each.distribution is not None}
        for recipe, settings in found.items()
    }
    for name, space in searched.items():
        if not space:
            raise InputError(f"recipe {name!r} has no setting to search; --search NAME=DISTRIBUTION adds one")
    return searched


def read_changes(texts: Sequence[str], option: str = "--search") -> list[Change]:
    """The changes in texts such as ``learning_rate=log_uniform(1e-3, 0.1)`` or ``irm.learning_rate=fixed``.

    Raises:
        InputError: if a text has another form.
    """
    changes: list[Change] = []
    for text in texts:
        name, equals, distribution = text.partition("=")
        if not equals:
            raise InputError(f"{option} {text!r}: expected NAME=DISTRIBUTION or RECIPE.NAME=DISTRIBUTION")
        try:
            changes.append((name, None if distribution == FIXED else read_distribution(distribution)))
        except ValueError as error:
            raise InputError(f"{option} {name}: {error}, or {FIXED}") from None
    return changes


def read_space(path: Path) -> list[Change]:
    """The changes in a TOML file with a distribution for each ``NAME`` or ``RECIPE.NAME``.

    Raises:
        InputError: if the file cannot be read or an entry is not a distribution.
    """
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the space {path}: {error}") from None
    return read_changes([f"{name}={text}" for name, text in _flat(content)], f"--space {path}:")


def draw(space: Space, number: int) -> dict[str, Any]:
    """The settings of a draw, by name. Draw 0 has the defaults.

    Each setting of each draw has a generator of its own. It does not depend on the recipe, so that recipes with the
    same settings get the same values, nor on the other settings.
    """
    if number == 0:
        return {}
    return {
        name: each.distribution.draw(np.random.default_rng(seed_for("draw", number, name)), each.default)
        for name, each in space.items()
        if each.distribution is not None
    }


def with_settings(recipe: Recipe, settings: Mapping[str, Any], name: str) -> Recipe:
    """A recipe of this name with settings replaced."""
    for path, value in settings.items():
        recipe = replace_setting(recipe, path.split("."), value, f"the space of {recipe.name!r}")
    return dataclasses.replace(recipe, name=name)


def _parts(recipe: Recipe) -> Iterator[tuple[str, Callable[..., Any], Mapping[str, Any]]]:
    """The field of the options, the class or function, and the given options of each part of a recipe."""
    yield "head_options", HEADS[recipe.head], recipe.head_options
    yield "algorithm_options", ALGORITHMS[recipe.algorithm], recipe.algorithm_options
    if recipe.averaging is not None:
        yield "averaging_options", AVERAGINGS[recipe.averaging], recipe.averaging_options
    for loss in (*recipe.losses, *recipe.linear_losses):
        yield f"loss_options.{loss}", LOSSES[loss], recipe.loss_options.get(loss, {})


def _options(part: Callable[..., Any], given: Mapping[str, Any]) -> Iterator[tuple[str, Dimension]]:
    """The keyword-only options of a class or function. An ``Annotated`` type declares the distribution."""
    hints = get_type_hints(part.__init__ if inspect.isclass(part) else part, include_extras=True)
    for name, parameter in inspect.signature(part).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            hint = hints[name]
            declared = next((each for each in get_args(hint)[1:] if isinstance(each, Distribution)), None)
            default = given.get(name, parameter.default)
            yield name, Dimension(default, declared if get_origin(hint) is Annotated else None)


def _flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and values of nested tables."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
