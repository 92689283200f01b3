"""Recipes: what is compared. A recipe changes objective, augmentation and algorithm, never the architecture."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from afield.algorithms import ALGORITHMS, AVERAGINGS
from afield.augment import chain_key
from afield.errors import InputError, first_line, unknown_name
from afield.recipes.composition import merged
from afield.registry import Registry
from afield.training import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """A head, weighted losses, an augmentation, an algorithm.

    Attributes:
        name: how tables call it.
        head: name in ``afield.heads.HEADS``.
        head_options: keyword arguments of the head, as ``{"margin_rad": 0.2}``.
        losses: weight by name in ``afield.losses.LOSSES``.
        loss_options: keyword arguments by loss name, as ``{"label_smoothing": {"smoothing": 0.2}}``.
        linear_losses: weight by name, of losses on the head's class vectors as a linear layer; see `Objective`.
        neck: a linear layer with batch normalization before the head.
        augment: name in ``afield.augment.AUGMENTATIONS``; a file; or, learned in each run on its own training images,
            in ``afield.augment.learned.AUGMENTORS``; or several joined by ``+``. None takes the preset's.
        augment_options: settings of the learned one, as ``{"recognized": 0.8}``.
        algorithm: name in ``afield.algorithms.ALGORITHMS``.
        algorithm_options: keyword arguments of the algorithm, as ``{"penalty": 10.0}``.
        averaging: name in ``afield.algorithms.AVERAGINGS``: predict with weights averaged over training.
        averaging_options: keyword arguments of the averaging, as ``{"tolerance": 1.2}``.
        dropout: in place of that of the training settings.
        weight_decay: in place of that of the training settings.
    """

    name: str
    head: str = "linear"
    head_options: Mapping[str, Any] = field(default_factory=dict)
    losses: Mapping[str, float] = field(default_factory=lambda: {"cross_entropy": 1.0})
    loss_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    linear_losses: Mapping[str, float] = field(default_factory=dict)
    neck: bool = False
    augment: str | None = None
    augment_options: Mapping[str, Any] = field(default_factory=dict)
    algorithm: str = "erm"
    algorithm_options: Mapping[str, Any] = field(default_factory=dict)
    averaging: str | None = None
    averaging_options: Mapping[str, Any] = field(default_factory=dict)
    dropout: float | None = None
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        for field_name, kinds in _KINDS.items():
            if not isinstance(getattr(self, field_name), kinds):
                raise InputError(f"recipe {self.name!r}: {field_name} cannot be {getattr(self, field_name)!r}")
        if not self.losses:
            raise InputError(f"recipe {self.name!r} has no losses")
        for loss, weight in (*self.losses.items(), *self.linear_losses.items()):
            where = f"recipe {self.name!r}: the weight of {loss}"
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1000:
                raise InputError(f"{where} must lie between 0 and 1000, got {weight!r}")
        for loss, options in self.loss_options.items():
            if not isinstance(options, Mapping):
                raise InputError(f"recipe {self.name!r}: the options of {loss} cannot be {options!r}")

    def training(self, shared: TrainConfig) -> TrainConfig:
        """The settings that all recipes share, with this one's in their place.

        Raises:
            InputError: a dropout or weight decay that is out of bounds.
        """
        own: dict[str, Any] = {"dropout": self.dropout, "weight_decay": self.weight_decay}
        return dataclasses.replace(shared, **{name: value for name, value in own.items() if value is not None})

    def config(self) -> dict[str, Any]:
        """What a record and a run's hash say, as JSON can hold it: files are named by their content."""
        return {**dataclasses.asdict(self), "augment": self.augment and chain_key(self.augment)}


_KINDS = {
    "name": str,
    "head": str,
    "head_options": Mapping,
    "losses": Mapping,
    "loss_options": Mapping,
    "linear_losses": Mapping,
    "neck": bool,
    "augment": str | None,
    "augment_options": Mapping,
    "algorithm": str,
    "algorithm_options": Mapping,
    "averaging": str | None,
    "averaging_options": Mapping,
    "dropout": int | float | None,
    "weight_decay": int | float | None,
}
"""What a file or ``--set`` may put into each field."""

RECIPES: Registry[Recipe] = Registry("recipe")


def _add(recipe: Recipe, *, summary: str, reference: str) -> None:
    RECIPES.add(recipe.name, recipe, summary=summary, reference=reference)


_FLATTENING = {"cross_entropy": 1.0, "complement_flattening": 0.5}

_add(
    Recipe("erm"),
    summary="Cross-entropy and a linear head on all domains together (DeepAll).",
    reference="Vapnik, Statistical Learning Theory, 1998.",
)
_add(
    Recipe("label_smoothing", losses={"label_smoothing": 1.0}),
    summary="Cross-entropy with a tenth of the target spread over all classes.",
    reference="Szegedy et al., Rethinking the Inception Architecture, CVPR 2016.",
)
_add(
    Recipe("flattening", losses=_FLATTENING),
    summary="Cross-entropy + 0.5 x complement flattening.",
    reference="Complement flattening for domain generalization, 2020 (paper A).",
)
_add(
    Recipe("focal", losses={"focal": 1.0}),
    summary="Cross-entropy with less weight on what is already right (gamma 2).",
    reference="Lin et al., Focal Loss, ICCV 2017.",
)
_add(
    Recipe("confidence_penalty", losses={"cross_entropy": 1.0, "confidence_penalty": 0.1}),
    summary="Cross-entropy - 0.1 x the entropy of the prediction.",
    reference="Pereyra et al., Penalizing Confident Output Distributions, 2017.",
)
_add(
    Recipe("complement_entropy", losses={"cross_entropy": 1.0, "complement_entropy": 1.0}),
    summary="Cross-entropy - the normalized entropy of the wrong classes.",
    reference="Chen et al., Complement Objective Training, ICLR 2019.",
)
_add(
    Recipe("guided_complement_entropy", losses={"guided_complement_entropy": 1.0}),
    summary="The wrong classes' entropy, weighted by the target's probability, in place of cross-entropy.",
    reference="Chen et al., Guided Complement Entropy, ICCV 2019.",
)
_add(
    Recipe("normalized_softmax", head="cosine"),
    summary="Scaled cosines in place of the linear head.",
    reference="Wang et al., NormFace, ACM MM 2017.",
)
_add(
    Recipe("arcface", head="arcface"),
    summary="Scaled cosines with a margin of 0.1 rad on the target's angle.",
    reference="Deng et al., ArcFace, CVPR 2019 (paper C).",
)
_add(
    Recipe("cosface", head="cosface"),
    summary="Scaled cosines with a margin of 0.1 on the target's cosine.",
    reference="Wang et al., CosFace, CVPR 2018.",
)
_add(
    Recipe("sphereface", head="sphereface"),
    summary="Scaled cosines with the target's angle times 1.2.",
    reference="Liu et al., SphereFace, CVPR 2017.",
)
_add(
    Recipe("subcenter_arcface", head="subcenter_arcface"),
    summary="ArcFace to the nearest of three vectors a class.",
    reference="Deng et al., Sub-center ArcFace, ECCV 2020.",
)
_add(
    Recipe("adacos", head="adacos"),
    summary="Scaled cosines whose scale adapts to the batch.",
    reference="Zhang et al., AdaCos, CVPR 2019.",
)
_add(
    Recipe("arcface_linear", head="arcface", linear_losses={"cross_entropy": 1.0}),
    summary="ArcFace + cross-entropy on the same class vectors as a linear layer.",
    reference="Paper C, future work: cross-entropy and the margin together.",
)
_add(
    Recipe("arcface_flattening", head="arcface", losses=_FLATTENING),
    summary="The ArcFace head with cross-entropy + 0.5 x complement flattening.",
    reference="Papers A and C together.",
)

for _algorithm in ALGORITHMS:
    if _algorithm.name != "erm":
        _recipe = Recipe(_algorithm.name, algorithm=_algorithm.name)
        _add(_recipe, summary=_algorithm.summary, reference=_algorithm.reference)
for _averaging in AVERAGINGS:
    _recipe = Recipe(_averaging.name, averaging=_averaging.name)
    _add(_recipe, summary=_averaging.summary, reference=_averaging.reference)

_add(
    Recipe(
        "fast_cifar",
        losses={"label_smoothing": 1.0},
        loss_options={"label_smoothing": {"smoothing": 0.2}},
        averaging="lookahead",
    ),
    summary="Label smoothing of 0.2 and lookahead, for few epochs: with the preset of this name.",
    reference="Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024.",
)

ENTRY_POINTS = "afield.recipes"
"""The entry-point group under which a package offers a `Recipe`, or a function that returns one."""


def resolve(names: Sequence[str], overrides: Sequence[str] = ()) -> tuple[Recipe, ...]:
    """Recipes by name, by file (``.toml``, ``.yaml``, ``.json``) or from an installed package, with fields set.

    Args:
        names: registry names, files, or entry-point names; several joined by ``+`` make one recipe with what each
            of them changes, as ``coral+flattening``.
        overrides: ``FIELD=VALUE`` for every recipe or ``RECIPE.FIELD=VALUE`` for one; fields of a mapping are
            reached by a dot (``flattening.losses.complement_flattening=1.0``), values are JSON or plain text.

    Raises:
        InputError: unknown or repeated names, recipes that clash, fields that do not exist, values that do not fit.
    """
    recipes = {}
    for name in names:
        recipe = _find(name)
        if recipe.name in recipes:
            raise InputError(f"recipe {recipe.name!r} is named twice")
        recipes[recipe.name] = recipe
    if not recipes:
        raise InputError("no recipe to run; allowed: " + ", ".join(RECIPES.names))
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"--set {override!r}: expected FIELD=VALUE or RECIPE.FIELD=VALUE")
        first, _, rest = path.partition(".")
        targets = [first] if first in recipes else list(recipes)
        steps = (rest if first in recipes else path).split(".")
        for target in targets:
            recipes[target] = _replace(recipes[target], steps, _value(text), override)
    return tuple(recipes.values())


def _find(name: str) -> Recipe:
    if name in RECIPES:
        return RECIPES[name]
    if "+" in name and not Path(name).is_file():
        return compose(name, [_find(part) for part in name.split("+")])
    if Path(name).suffix in (".toml", ".yaml", ".yml", ".json"):
        return read_recipe(Path(name))
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    for point in points:
        if point.name == name:
            found = point.load()
            return found if isinstance(found, Recipe) else found()
    unknown_name("recipe", name, (*RECIPES.names, *points.names))


def compose(name: str, recipes: Sequence[Recipe]) -> Recipe:
    """The recipe of this name with what each of the given ones changes.

    Raises:
        InputError: two of them change the same thing in different ways.
    """
    fields = [{**dataclasses.asdict(recipe), "name": name} for recipe in recipes]
    named = {recipe.name: own for recipe, own in zip(recipes, fields, strict=True)}
    return Recipe(**merged(named, dataclasses.asdict(Recipe(name))))


def read_recipe(path: Path) -> Recipe:
    """A recipe from a TOML, YAML or JSON file whose keys are the fields of `Recipe`; `name` may be left out.

    Raises:
        InputError: unreadable file, unknown fields, or values that do not fit.
    """
    try:
        text = path.read_text()
        content = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except FileNotFoundError:
        raise InputError(f"no recipe file {path}") from None
    except (tomllib.TOMLDecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a recipe: {first_line(error)}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: a recipe is a table of fields, got {type(content).__name__}")
    fields = {f.name for f in dataclasses.fields(Recipe)}
    for key in content:
        if key not in fields:
            unknown_name(f"recipe field in {path}", str(key), fields)
    return Recipe(**{"name": path.stem, **content})


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _replace(recipe: Recipe, steps: Sequence[str], value: Any, override: str) -> Recipe:
    name, *inner = steps
    fields = {f.name for f in dataclasses.fields(Recipe)} - {"name"}
    if name not in fields:
        unknown_name(f"recipe field in --set {override!r}", name, fields)
    if inner:
        if not isinstance(getattr(recipe, name), Mapping):
            raise InputError(f"--set {override!r}: {name} has no fields of its own")
        value = _nested(getattr(recipe, name), inner, value, override)
    return dataclasses.replace(recipe, **{name: value})


def _nested(mapping: Mapping[str, Any], steps: Sequence[str], value: Any, override: str) -> dict[str, Any]:
    first, *rest = steps
    if not rest:
        return {**mapping, first: value}
    inner = mapping.get(first, {})
    if not isinstance(inner, Mapping):
        raise InputError(f"--set {override!r}: {first} has no fields of its own")
    return {**mapping, first: _nested(inner, rest, value, override)}
