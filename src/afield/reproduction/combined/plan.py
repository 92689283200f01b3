"""The studies of the combined papers."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from afield.recipes import Recipe
from afield.reproduction.place import Place
from afield.reproduction.study import Study
from afield.runs.config import ExperimentConfig

BASE = "erm"
PARTS = ("flattening", "margin", "learned augmentation")
COMBINATIONS = tuple(parts for size in range(len(PARTS) + 1) for parts in combinations(PARTS, size))


def combination(parts: Sequence[str], learned: str, options: Mapping[str, int]) -> Recipe:
    """Create the recipe of a combination of the three parts, with cross-entropy. The name lists the parts.

    Args:
        parts: elements of `PARTS`.
        learned: learned augmentation: ``learned``, or a chain that ends with it.
        options: settings of learning it.
    """
    recipe = Recipe(" + ".join(parts) or BASE, head="arcface" if "margin" in parts else "linear")
    if "flattening" in parts:
        recipe = dataclasses.replace(recipe, losses={"cross_entropy": 1.0, "complement_flattening": 0.5})
    if "learned augmentation" in parts:
        recipe = dataclasses.replace(recipe, augment=learned, augment_options=options)
    return recipe


@dataclass(frozen=True)
class Scale:
    """The scale of the experiment.

    Attributes:
        seeds: numbers of seeds with frozen features, on CIFAR-10, and of fine-tuning.
        tuned: whether to fine-tune a network on PACS at 224 pixels.
        cifar: numbers of training and test images of CIFAR-10, and epochs of a ResNet-8 before and after learning an
            augmentation.
        learning: settings of learning an augmentation.
    """

    seeds: tuple[int, int, int]
    tuned: bool
    cifar: tuple[int, int, int, int]
    learning: Mapping[str, int] = field(default_factory=dict)


SIZES = {
    "smoke": Scale((2, 1, 1), False, (120, 60, 1, 1), {"epochs": 1, "epoch_steps": 1}),
    "small": Scale((5, 5, 3), False, (6000, 5000, 12, 16)),
    "full": Scale((5, 3, 3), True, (50_000, 10_000, 30, 30)),
}


def studies(place: Place) -> Iterator[Study]:
    """Create the studies."""
    scale = SIZES[place.size]
    frozen_seeds, cifar_seeds, tuned_seeds = scale.seeds
    features = [parts for parts in COMBINATIONS if "learned augmentation" not in parts]
    recipes = tuple(combination(parts, "learned", scale.learning) for parts in features)
    yield Study(place.frozen_pacs(), recipes, frozen_seeds, name="PACS, frozen")
    yield Study(_cifar(place, *scale.cifar), _all("learned", scale.learning), cifar_seeds, name="CIFAR-10")
    if scale.tuned:
        setup = place.tuned_pacs()
        recipes = _all(f"{setup.training.augment}+learned", scale.learning)
        yield Study(setup, recipes, tuned_seeds, name="PACS, fine-tuned")


def _cifar(place: Place, train: int, test: int, before: int, after: int) -> ExperimentConfig:
    """The setup of paper B: every run trains without augmentation, then again at half of the learning rate.

    A learned augmentation is learned in between and used in the second training. So its learning costs the other
    recipes no epoch, and all recipes have the same epochs.
    """
    data = place.cifar("cifar10").subset(train, test).image_set()
    setup = place.from_scratch(data, epochs=before, batch_size=128, warmup=0.2, augment="none")
    rate = setup.training.learning_rate / 2
    return dataclasses.replace(setup, tuning=dataclasses.replace(setup.training, epochs=after, learning_rate=rate))


def _all(learned: str, learning: Mapping[str, int]) -> tuple[Recipe, ...]:
    """All eight combinations."""
    return tuple(combination(parts, learned, learning) for parts in COMBINATIONS)
