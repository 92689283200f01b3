"""The studies of paper A: complement flattening."""

from collections.abc import Iterator
from dataclasses import dataclass

from afield.models import BackboneConfig
from afield.recipes import RECIPES, Recipe
from afield.reproduction.corruptions import CORRUPTIONS, TEST, with_corruptions
from afield.reproduction.place import RESNET8, Place
from afield.reproduction.study import Study, runnable
from afield.runs.config import ExperimentConfig

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
"""The methods in the paper, by recipe: name, and accuracy by domain and on average, if it is in table 1."""

TUNED, FROZEN, SCRATCH = "PACS, fine-tuned", "PACS, frozen", "PACS, from scratch"
"""Names of studies. Without fine-tuning, methods that need images are trained from scratch."""

ERM = Recipe("erm")
LAMBDAS = (0.25, 0.5, 1.0, 2.0, 4.0)
RIVALS = ("label_smoothing", "complement_entropy", "confidence_penalty")
REGULARIZERS = (
    *(Recipe(f"dropout {value:g}", training={"dropout": value}) for value in (0.0, 0.5)),
    *(Recipe(f"weight decay {value:g}", training={"weight_decay": value}) for value in (1e-4, 1e-3, 1e-2)),
)
"""The regularizers in the text of the paper, which has no numbers for them. Each recipe replaces one setting."""


def flattening(weight: float) -> Recipe:
    """Create a recipe with cross-entropy plus `weight` times complement flattening."""
    return Recipe(f"flattening {weight:g}", losses={"cross_entropy": 1.0, "complement_flattening": weight})


@dataclass(frozen=True)
class Scale:
    """The scale of the experiment.

    Attributes:
        seeds: numbers of seeds of the study with a frozen backbone, and of the other studies.
        lambdas: values of lambda.
        tuned: whether to fine-tune with the setup of the paper.
        scratch: number of epochs of a ResNet-8 on PACS at 32 pixels; 0 omits the study.
        corrupted: numbers of training images, test images and epochs on CIFAR-10 with corruptions.
        regularizers: recipes with another dropout or weight decay, for the frozen backbone.
        backbone: backbone for CIFAR-10 with corruptions.
    """

    seeds: tuple[int, int]
    lambdas: tuple[float, ...]
    tuned: bool
    scratch: int
    corrupted: tuple[int, int, int]
    regularizers: tuple[Recipe, ...] = REGULARIZERS
    backbone: BackboneConfig = RESNET8


SIZES = {
    "smoke": Scale((2, 2), (0.5, 1.0), False, 0, (120, 40, 1), REGULARIZERS[:1]),
    "small": Scale((5, 3), LAMBDAS, False, 5, (4000, 1000, 10)),
    "full": Scale((5, 3), LAMBDAS, True, 0, (50_000, 10_000, 30), backbone=BackboneConfig("resnet18", "small")),
}


def studies(place: Place) -> Iterator[Study]:
    """Create the studies."""
    scale = SIZES[place.size]
    many, few = scale.seeds
    if scale.tuned:
        setup = place.tuned_pacs()
        recipes = (ERM, flattening(0.5), flattening(1.0), *competitors(setup))
        yield Study(setup, recipes, few, name=TUNED, wrong_classes=True)
    setup, rivals = place.frozen_pacs(), (RECIPES[name] for name in RIVALS)
    featured = (ERM, *map(flattening, scale.lambdas), *rivals, *scale.regularizers, *competitors(setup))
    yield Study(setup, featured, many, name=FROZEN, wrong_classes=True)
    if scale.scratch:
        setup = place.from_scratch(place.pacs(32), epochs=scale.scratch)
        of_images = [recipe for recipe in competitors(setup) if recipe not in featured]
        yield Study(setup, (ERM, flattening(0.5), *of_images), few, name=SCRATCH)
    train, test, epochs = scale.corrupted
    data = with_corruptions(place.cifar("cifar10").subset(train, test))
    setup = place.from_scratch(data, scale.backbone, epochs=epochs, batch_size=128, warmup=0.2, augment="crop_flip")
    recipes = (ERM, flattening(0.5), flattening(1.0))
    yield Study(setup, recipes, few, held_out=((TEST, *CORRUPTIONS),), name="CIFAR-10, corrupted")


def competitors(setup: ExperimentConfig) -> tuple[Recipe, ...]:
    """The recipes of the methods in the paper that exist and can be trained in this setup."""
    return runnable(setup, [RECIPES[name] for name in SYSTEMS if name in RECIPES])
