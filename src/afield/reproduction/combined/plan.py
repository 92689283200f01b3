"""What is run of the papers together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from afield.data import Validation, load
from afield.models import BackboneConfig
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.recipes import Recipe
from afield.reproduction.paper import Place
from afield.reproduction.pictures import cifar, digits, fewer, pacs
from afield.reproduction.study import Study
from afield.runs.config import ExperimentConfig, choose_training, keep_class

BASE = "erm"
PARTS = ("flattening", "margin", "learned augmentation")
COMBINATIONS = tuple(parts for size in range(len(PARTS) + 1) for parts in combinations(PARTS, size))


def combination(parts: Sequence[str], learned: str, epochs: int) -> Recipe:
    """Cross-entropy with these of the three parts, named after them.

    Args:
        parts: some of `PARTS`.
        learned: the augmentation where it is learned: ``learned``, perhaps after others.
        epochs: in which it is learned.
    """
    losses = {"cross_entropy": 1.0} | ({"complement_flattening": 0.5} if "flattening" in parts else {})
    with_augmentor = {"augment": learned, "augment_options": {"epochs": epochs}}
    return Recipe(
        " + ".join(parts) or BASE,
        head="arcface" if "margin" in parts else "linear",
        losses=losses,
        **(with_augmentor if "learned augmentation" in parts else {}),  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class Scale:
    """How large the experiment is.

    Attributes:
        seeds: on frozen features, and otherwise.
        tuned: whether PACS is fine-tuned at 224 px.
        domains: PACS images and epochs of a ResNet-8 at 32 px.
        cifar: training and test images, and epochs, of a ResNet-8 on CIFAR-10.
        learning: epochs in which an augmentation is learned.
        stand_in: whether the digits take the place of PACS and CIFAR-10.
    """

    seeds: tuple[int, int]
    tuned: bool
    domains: tuple[int, int]
    cifar: tuple[int, int, int]
    learning: int
    stand_in: bool = False


SIZES = {
    "smoke": Scale((2, 1), False, (200, 2), (120, 60, 2), 1, stand_in=True),
    "small": Scale((5, 3), False, (2500, 8), (2500, 2000, 12), 5),
    "full": Scale((5, 3), True, (9991, 30), (50_000, 10_000, 30), 10),
}


def studies(place: Place) -> Iterator[Study]:
    """What is run."""
    scale = SIZES[place.size]
    many, few = scale.seeds
    if scale.stand_in:
        frozen = ExperimentConfig(
            load("digits"), BackboneConfig("resnet8"), True, Validation(), choose_training("frozen", epochs=2)
        )
    else:
        backbone = BackboneConfig(PACKAGE_BACKBONE, weights=PACKAGE)
        frozen = ExperimentConfig(pacs(place.data, 224), backbone, True, Validation(), choose_training("frozen"))
    features = [parts for parts in COMBINATIONS if "learned augmentation" not in parts]
    recipes = tuple(combination(parts, "learned", 1) for parts in features)
    yield Study(frozen, recipes, many, name="PACS, frozen")
    images, epochs = scale.domains
    domains = fewer(load("digits") if scale.stand_in else pacs(place.data, 32), images)
    train, test, cifar_epochs = scale.cifar
    pictures = digits() if scale.stand_in else cifar(place.data, "cifar10")
    one = pictures.subset(train, test).image_set()
    for name, data, length in (("PACS, from scratch", domains, epochs), ("CIFAR-10", one, cifar_epochs)):
        training = choose_training(
            "scratch", epochs=length, batch_size=64, warmup=0.2, augment="crop_flip", precision="bf16"
        )
        setup = ExperimentConfig(data, BackboneConfig("resnet8"), False, Validation(), keep_class(training, data))
        yield Study(setup, _all(setup, scale.learning), few, name=name)
    if scale.tuned:
        backbone = place.pretrained or BackboneConfig("resnet18", weights="pretrained")
        training = choose_training("flattening_paper", precision="bf16")
        setup = ExperimentConfig(pacs(place.data, 224), backbone, False, Validation(), training)
        yield Study(setup, _all(setup, scale.learning), few, name="PACS, fine-tuned")


def _all(setup: ExperimentConfig, learning: int) -> tuple[Recipe, ...]:
    """All eight; the learned augmentation comes after the setup's own."""
    chain = f"{setup.training.augment}+learned"
    return tuple(combination(parts, chain, learning) for parts in COMBINATIONS)
