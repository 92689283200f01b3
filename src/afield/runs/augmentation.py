"""Which augmentation a run has: by name, and whether a part of it is learned before it is used."""

from __future__ import annotations

from typing import Any

from afield.augment import Augmentation, Identity, build_chain
from afield.augment.learned import AUGMENTORS
from afield.errors import InputError
from afield.recipes import Recipe
from afield.runs.config import ExperimentConfig
from afield.validation import read_settings


def augmentation_names(setup: ExperimentConfig, recipe: Recipe) -> str:
    """The recipe's augmentation, else the setup's, by name."""
    return recipe.augment or setup.training.augment


def learned_part(names: str) -> str | None:
    """Which of the names joined by ``+`` is learned, if one is.

    Raises:
        InputError: more than one is.
    """
    parts = [name for name in names.split("+") if name in AUGMENTORS]
    if len(parts) > 1:
        raise InputError(f"augment={names!r} has {len(parts)} learned parts; one at most can be learned in a run")
    return parts[0] if parts else None


def fixed_part(names: str) -> str:
    """The names that are left without the learned one; ``none`` if none is."""
    return "+".join(name for name in names.split("+") if name not in AUGMENTORS) or "none"


def augmentor_settings(recipe: Recipe, learned: str) -> Any:
    """The settings of the recipe's learned augmentation.

    Raises:
        InputError: options that it does not take.
    """
    return read_settings(
        AUGMENTORS[learned].settings_type, recipe.augment_options, f"{learned} in recipe {recipe.name!r}"
    )


def check_augmentation(setup: ExperimentConfig, recipe: Recipe) -> Augmentation:
    """The augmentation of a run before it is learned: what is not there yet leaves images as they are.

    Raises:
        InputError: an unknown name, options that nothing takes, images to augment where only features are seen, or
            too few epochs for the stages of a learned augmentation.
    """
    names = augmentation_names(setup, recipe)
    if setup.freeze and recipe.augment not in (None, "none"):
        raise InputError(f"recipe {recipe.name!r} has augment={recipe.augment!r}, which --freeze leaves without images")
    augmentation = build_chain(names, dict.fromkeys(AUGMENTORS.names, Identity()))
    learned = learned_part(names)
    if learned is not None:
        augmentor_settings(recipe, learned)
        if setup.tuning is None and recipe.train_config(setup.training).epochs < 2:
            raise InputError(f"augment={names!r} trains in stages, and needs --epochs 2 or more")
    elif recipe.augment_options:
        options = ", ".join(recipe.augment_options)
        raise InputError(
            f"recipe {recipe.name!r} has augment_options ({options}), but augment={names!r} learns nothing"
        )
    return augmentation
