"""What is run of paper A: complement flattening."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from afield.data import ImageSet, Validation, load
from afield.models import BackboneConfig
from afield.models.weights import PACKAGE, PACKAGE_BACKBONE
from afield.recipes import RECIPES, Recipe
from afield.reproduction.corruptions import CORRUPTIONS, TEST, with_corruptions
from afield.reproduction.paper import Place
from afield.reproduction.pictures import cifar, digits, pacs
from afield.reproduction.study import Study, runnable
from afield.runs.config import ExperimentConfig, choose_training, keep_class

DOMAINS = ("art_painting", "cartoon", "sketch", "photo")
SYSTEMS = {
    "masf": ("MASF", (0.8029, 0.7717, 0.7169, 0.9499, 0.8103)),
    "epi_fcr": ("Epi-FCR", (0.8210, 0.7700, 0.7300, 0.9390, 0.8150)),
    "jigen": ("JiGen", (0.7942, 0.7525, 0.7135, 0.9603, 0.8051)),
    "metareg": ("MetaReg", (0.8370, 0.7720, 0.7030, 0.9550, 0.8170)),
    "mmld": ("MMLD", (0.8128, 0.7716, 0.7229, 0.9609, 0.8183)),
    "mmd_aae": ("MMD-AAE", None),
    "crossgrad": ("CrossGrad", None),
    "l2a_ot": ("L2A-OT", None),
}
"""The systems of the paper, by recipe: name, and accuracy on `DOMAINS` and on average where table 1 prints it."""


TUNED, FROZEN, SCRATCH = "PACS, fine-tuned", "PACS, frozen", "PACS, from scratch"
"""Studies; systems that need images train from scratch where there is no fine-tuning."""

CROSS_ENTROPY = Recipe("erm")
LAMBDAS = (0.25, 0.5, 1.0, 2.0, 4.0)
RIVALS = ("label_smoothing", "complement_entropy", "confidence_penalty")


def flattening(weight: float) -> Recipe:
    """Cross-entropy and so many times complement flattening."""
    return Recipe(f"flattening {weight:g}", losses={"cross_entropy": 1.0, "complement_flattening": weight})


@dataclass(frozen=True)
class Scale:
    """How large the experiment is.

    Attributes:
        seeds: of the studies on a frozen backbone, and of the others.
        lambdas: of the sweep.
        frozen: whether the head on a frozen backbone is among it.
        tuned: whether fine-tuning by the paper's protocol is.
        scratch: epochs of a ResNet-8 on PACS at 32 px; 0 leaves it out.
        corrupted: network, stem, training and test images, epochs: of CIFAR-10 with corruptions.
        stand_in: whether the digits take the place of PACS and CIFAR-10.
    """

    seeds: tuple[int, int]
    lambdas: tuple[float, ...]
    frozen: bool
    tuned: bool
    scratch: int
    corrupted: tuple[str, str, int, int, int]
    stand_in: bool = False


SIZES = {
    "smoke": Scale((2, 2), (0.5, 1.0), True, False, 0, ("resnet8", "standard", 120, 40, 1), stand_in=True),
    "small": Scale((5, 3), LAMBDAS, True, False, 5, ("resnet8", "standard", 4000, 1000, 10)),
    "full": Scale((5, 3), LAMBDAS, True, True, 0, ("resnet18", "small", 50_000, 10_000, 30)),
}


def studies(place: Place) -> Iterator[Study]:
    """What is run."""
    scale = SIZES[place.size]
    many, few = scale.seeds
    if scale.tuned:
        yield _tuned(place, few)
    featured: Sequence[Recipe] = ()
    if scale.frozen:
        frozen = _frozen(place, scale, many)
        featured = frozen.recipes
        yield frozen
    if scale.scratch:
        training = choose_training("scratch", epochs=scale.scratch, precision="bf16")
        setup = ExperimentConfig(pacs(place.data, 32), BackboneConfig("resnet8"), False, Validation(), training)
        of_images = [recipe for recipe in competitors(setup) if recipe not in featured]
        yield Study(setup, (CROSS_ENTROPY, flattening(0.5), *of_images), few, name=SCRATCH)
    network, stem, train, test, epochs = scale.corrupted
    pictures = digits() if scale.stand_in else cifar(place.data, "cifar10")
    data = with_corruptions(pictures.subset(train, test))
    training = choose_training(
        "scratch", epochs=epochs, batch_size=128, warmup=0.2, augment="crop_flip", precision="bf16"
    )
    backbone = BackboneConfig(network, "small" if stem == "small" else "standard")
    setup = ExperimentConfig(data, backbone, False, Validation(), keep_class(training, data))
    recipes = (CROSS_ENTROPY, flattening(0.5), flattening(1.0))
    yield Study(setup, recipes, few, held_out=((TEST, *CORRUPTIONS),), name="CIFAR-10, corrupted")


def _tuned(place: Place, count: int) -> Study:
    backbone = place.pretrained or BackboneConfig("resnet18", weights="pretrained")
    data = pacs(place.data, 224)
    setup = ExperimentConfig(data, backbone, False, Validation(), choose_training("flattening_paper", precision="bf16"))
    recipes = (CROSS_ENTROPY, flattening(0.5), flattening(1.0), *competitors(setup))
    return Study(setup, recipes, count, name=TUNED, wrong_classes=True)


def _frozen(place: Place, scale: Scale, count: int) -> Study:
    if scale.stand_in:
        data: ImageSet = load("digits")
        backbone, training = BackboneConfig("resnet8"), choose_training("frozen", epochs=2)
    else:
        data = pacs(place.data, 224)
        backbone, training = BackboneConfig(PACKAGE_BACKBONE, weights=PACKAGE), choose_training("frozen")
    setup = ExperimentConfig(data, backbone, True, Validation(), training)
    recipes = (CROSS_ENTROPY, *map(flattening, scale.lambdas), *(RECIPES[name] for name in RIVALS), *competitors(setup))
    return Study(setup, recipes, count, name=FROZEN, wrong_classes=True)


def competitors(setup: ExperimentConfig) -> tuple[Recipe, ...]:
    """The paper's systems that there are and that can train in this setup."""
    return runnable(setup, [RECIPES[name] for name in SYSTEMS if name in RECIPES])
