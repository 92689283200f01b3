"""The augmentation of a run, and its learned part."""

from collections.abc import Sequence
from typing import Any

from afield.augment import (
    Augmentation,
    CycleGanAugmentor,
    Identity,
    MixingAugmentation,
    RelabelingAugmentation,
    build_chain,
    chain_parts,
)
from afield.augment.learned import AUGMENTORS
from afield.errors import InputError
from afield.recipes import Recipe
from afield.runs.config import ExperimentConfig
from afield.runs.default_backbone import ON_IMAGES
from afield.validation import read_settings

CHANGES_TARGETS = (MixingAugmentation, RelabelingAugmentation)
"""Augmentations that change the targets of a batch."""


def augmentation_names(setup: ExperimentConfig, recipe: Recipe) -> str:
    """The names of the augmentation: that of the recipe, or else the shared one."""
    return recipe.augment or setup.training.augment


def learned_part(names: str) -> str | None:
    """The learned augmentation among the names joined by ``+``, or None.

    Raises:
        InputError: if there is more than one.
    """
    parts = [name for name in names.split("+") if name in AUGMENTORS]
    if len(parts) > 1:
        raise InputError(f"augment={names!r} has {len(parts)} learned parts; a run can learn at most one")
    return parts[0] if parts else None


def fixed_part(names: str) -> str:
    """The names without the learned augmentation; ``none`` if no name is left."""
    return "+".join(name for name in names.split("+") if name not in AUGMENTORS) or "none"


def augmentor_settings(recipe: Recipe, learned: str) -> Any:
    """The settings of the learned augmentation of a recipe.

    Raises:
        InputError: if an option is not valid.
    """
    return read_settings(
        AUGMENTORS[learned].settings_type, recipe.augment_options, f"{learned} in recipe {recipe.name!r}"
    )


def check_augmentation(setup: ExperimentConfig, recipe: Recipe) -> Augmentation:
    """Check the augmentation of a run and return what augments its batches.

    This is the augmentation with an identity in place of the learned part. Stored features are not augmented, because
    their views are.

    Raises:
        InputError: if a name is unknown, options are not used, a saved translation is for other classes, there are too
            few epochs for the stages of a learned augmentation, or training uses stored features without views, or with
            an augmentation that learns or that changes targets.
    """
    names = augmentation_names(setup, recipe)
    augmentation = build_chain(names, dict.fromkeys(AUGMENTORS.names, Identity()))
    if setup.stores and names != "none":
        _check_views(setup, recipe, names, augmentation)
        augmentation = Identity()
    check_classes(augmentation, setup.data.class_names)
    learned = learned_part(names)
    if learned is not None:
        augmentor_settings(recipe, learned)
        if setup.tuning is None and recipe.train_config(setup.training).epochs < 2:
            raise InputError(f"augment={names!r} trains in stages and needs --epochs 2 or more")
    elif recipe.augment_options:
        options = ", ".join(recipe.augment_options)
        raise InputError(
            f"recipe {recipe.name!r} has augment_options ({options}), but augment={names!r} has no learned part"
        )
    return augmentation


def _check_views(setup: ExperimentConfig, recipe: Recipe, names: str, augmentation: Augmentation) -> None:
    changes_targets = any(isinstance(part, CHANGES_TARGETS) for part in chain_parts(augmentation))
    storable = not learned_part(names) and not changes_targets
    if not storable or setup.views == 1:
        needed = "--views or images" if storable else "images"
        stored = "features" if setup.freeze else "activations"
        raise InputError(
            f"recipe {recipe.name!r}: augment={names!r} needs {needed}; {setup.stores} stores {stored}; "
            f"{ON_IMAGES[setup.stores]}"
        )


def check_classes(augmentation: Augmentation, class_names: Sequence[str]) -> None:
    """Raise `InputError` if a part of the augmentation translates between other classes than those of the data."""
    for part in chain_parts(augmentation):
        if isinstance(part, CycleGanAugmentor):
            part.check_classes(class_names)
