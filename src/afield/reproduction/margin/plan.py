"""The studies of paper C: angular-margin heads."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from afield.augment import Augmentation
from afield.classifier import Classifier
from afield.models import BackboneConfig
from afield.models.backbone import Stem
from afield.recipes import Recipe
from afield.reproduction.pictures import Pictures
from afield.reproduction.place import Place
from afield.reproduction.study import Study, test_images
from afield.runs.config import ExperimentConfig
from afield.runs.run import Run

NETWORKS = {"resnet18": "ResNet-18", "efficientnet_b0": "EfficientNet", "mobilenetv2_100": "MobileNetV2"}
SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}

EXEMPLARS = "exemplars/resnet8"
"""The study of the largest data set."""

CE = Recipe("cross-entropy")
BOTH = Recipe("cross-entropy + arcface", head="arcface", linear_losses={"cross_entropy": 1.0})

FORMS = {"exact": "exact", "straight_through": "straight-through"}
"""Names of the forms of the gradient."""

MARGINS = (0.0, 0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 2.5)


def arcface(margin: float, scale: float | str = 1.0, gradient: str = "exact") -> Recipe:
    """Create a recipe with ArcFace and this margin in radians. The paper uses scale 1 and the exact gradient."""
    said = scale if isinstance(scale, str) else f"{scale:g}"
    options = {"scale": scale, "margin_rad": margin, "gradient": gradient}
    return Recipe(f"arcface {margin:g} rad, scale {said}, {FORMS[gradient]}", "arcface", options)


PAPER = arcface(0.1)
DEFAULT = arcface(0.1, "auto", "straight_through")

PLANE = (
    CE,
    Recipe("sphereface x 2", "sphereface", {"margin_multiplier": 2.0}),
    Recipe("arcface 0.5 rad", "arcface", {"margin_rad": 0.5}),
)
DRAWN, SHOWN_CLASSES = 200, (0, 1, 6)
"""Number of test images per class in figure 1, and its classes: airplane, automobile and frog of CIFAR-10."""


@dataclass(frozen=True)
class Network:
    """A network with its amount of training, and its precision; None is that of the size."""

    name: str
    stem: Stem = "standard"
    images: int = 50_000
    epochs: int = 30
    batch_size: int = 128
    precision: str | None = None

    @property
    def key(self) -> str:
        """The name of the network in the names of studies."""
        return self.name if self.stem == "standard" else f"{self.name}, small stem"


@dataclass(frozen=True)
class Scale:
    """The scale of the experiment.

    Attributes:
        images: numbers of training and test images of the studies with ResNet-8.
        epochs: number of epochs of these studies.
        exemplars: for the largest data set of the scale study, the numbers of classes, of training and of test images
            per class, and of epochs.
        plane: numbers of images and epochs of figure 1.
        networks: networks of tables 1 and 2, with cross-entropy and the margin of the paper.
        seeds: number of seeds, except in figure 1.
        margins: margins of figure 2, at scale 1 with the exact gradient.
        swept: keys of the networks that are trained with all margins on CIFAR-10, in addition to ResNet-8.
        gradient_margins: margins of the gradient study at scale "auto".
    """

    images: tuple[int, int]
    epochs: int
    exemplars: tuple[int, int, int, int]
    plane: tuple[int, int]
    networks: tuple[Network, ...] = ()
    seeds: int = 3
    margins: tuple[float, ...] = MARGINS
    swept: tuple[str, ...] = ()
    gradient_margins: tuple[float, ...] = (0.1, 0.3, 0.5, 1.0)


FEW = tuple(
    Network(name, images=4000, epochs=10, batch_size=64, precision=None if name == "resnet18" else "32")
    for name in NETWORKS
)
"""The networks with few images. Depthwise convolutions are slower in bf16 than in 32 bits on a CPU."""
BOTH_STEMS = (*map(Network, NETWORKS), *(Network(name, "small") for name in NETWORKS))
SWEPT = ("efficientnet_b0", "mobilenetv2_100")
SIZES = {
    "smoke": Scale((120, 60), 1, (20, 6, 3, 1), (90, 2), seeds=2, margins=(0.0, 0.1, 2.0), gradient_margins=(0.1, 0.5)),
    "small": Scale((2500, 1000), 8, (1000, 24, 5, 5), (1500, 15), FEW),
    "full": Scale((50_000, 10_000), 30, (1000, 24, 5, 8), (15_000, 30), BOTH_STEMS, swept=SWEPT),
}


def studies(place: Place) -> Iterator[Study]:
    """Create the studies, one for each data set and network: first tables 1 and 2, then those with ResNet-8."""
    scale = SIZES[place.size]
    sweep = tuple(map(arcface, scale.margins))
    for name in SETS:
        for network in scale.networks:
            more = sweep if network.key in scale.swept and name == "cifar10" else ()
            setup = _setup(place, place.cifar(name).subset(network.images, scale.images[1]), network)
            recipes = _distinct(CE, PAPER, *more)
            yield Study(setup, recipes, scale.seeds, name=f"{name}/{network.key}")
    eight = Network("resnet8", epochs=scale.epochs)
    forms = [arcface(margin, "auto", form) for margin in scale.gradient_margins for form in FORMS]
    for name, more in (("cifar10", (*sweep, *forms)), ("cifar100", ())):
        setup = _setup(place, place.cifar(name).subset(*scale.images), eight)
        recipes = _distinct(CE, PAPER, DEFAULT, BOTH, *more)
        yield Study(setup, recipes, scale.seeds, name=f"{name}/resnet8")
    classes, train, test, epochs = scale.exemplars
    exemplars = place.cifar("cifar100").exemplars(classes, train, test)
    setup = _setup(place, exemplars, Network("resnet8", epochs=epochs))
    yield Study(setup, (CE, PAPER, DEFAULT), scale.seeds, name=EXEMPLARS)
    images, epochs = scale.plane
    setup = _setup(
        place, place.cifar("cifar10").subset(images, 3 * DRAWN, SHOWN_CLASSES), Network("resnet8_plane", epochs=epochs)
    )
    yield Study(setup, PLANE, 1, name="plane", measure=features_of_the_plane)


def _distinct(*recipes: Recipe) -> tuple[Recipe, ...]:
    return tuple({recipe.name: recipe for recipe in recipes}.values())


def _setup(place: Place, pictures: Pictures, network: Network) -> ExperimentConfig:
    amounts = {"epochs": network.epochs, "batch_size": network.batch_size}
    backbone = BackboneConfig(network.name, network.stem)
    return place.from_scratch(
        pictures.image_set(), backbone, network.precision, augment="crop_flip", warmup=0.3, **amounts
    )


def features_of_the_plane(run: Run, classifier: Classifier, augmentation: Augmentation) -> dict[str, Any]:
    """Features of the test images ``[N, 2]``, their labels, and the head's class vectors and bias."""
    tested = test_images(run)
    images, labels = tested.take(np.arange(len(tested)))
    classifier.eval()
    with torch.inference_mode():
        features = classifier.features(images.to(next(classifier.parameters()).device)).float().cpu()
    points = [[round(value, 3) for value in row] for row in features.tolist()]
    head = {name: value.float().tolist() for name, value in classifier.objective.head.state_dict().items()}
    return {"plane": {"points": points, "labels": labels.tolist(), "weights": head["weight"], "bias": head.get("bias")}}
