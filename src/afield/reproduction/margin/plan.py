"""What is run of paper C: angular-margin heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from afield.augment import Augmentation
from afield.classifier import Classifier
from afield.data import Validation, make_fold
from afield.models import BackboneConfig
from afield.models.backbone import Stem
from afield.recipes import Recipe
from afield.reproduction.paper import Place
from afield.reproduction.pictures import Pictures, cifar, digits
from afield.reproduction.study import Study
from afield.runs.config import ExperimentConfig, choose_training, keep_class
from afield.runs.run import Run
from afield.training import Subset

NETWORKS = {"resnet18": "ResNet-18", "efficientnet_b0": "EfficientNet", "mobilenetv2_100": "MobileNetV2"}
SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


CROSS_ENTROPY = Recipe("cross-entropy")
BOTH = Recipe("cross-entropy + arcface", head="arcface", linear_losses={"cross_entropy": 1.0})


def arcface(margin: float, scale: float | str = 1.0, gradient: str = "exact") -> Recipe:
    """ArcFace with this margin in radians; scale 1 and the exact gradient are the paper's."""
    how = "exact" if gradient == "exact" else "straight-through"
    options = {"scale": scale, "margin_rad": margin, "gradient": gradient}
    return Recipe(
        f"arcface {margin:g} rad, scale {scale if scale == 'auto' else f'{scale:g}'}, {how}", "arcface", options
    )


PAPER = arcface(0.1)
DEFAULT = arcface(0.1, "auto", "straight_through")
FORMS = {"exact": "exact", "straight_through": "straight-through"}

PLANE = (
    CROSS_ENTROPY,
    Recipe("sphereface x 2", "sphereface", {"margin_multiplier": 2.0}),
    Recipe("arcface 0.5 rad", "arcface", {"margin_rad": 0.5}),
)
DRAWN, SHOWN_CLASSES = 200, (0, 1, 6)
"""Test images of a class that figure 1 shows, and the classes: airplane, automobile and frog of CIFAR-10."""


@dataclass(frozen=True)
class Network:
    """One of the networks, and how much it trains."""

    name: str
    stem: Stem = "standard"
    images: int = 50_000
    epochs: int = 30
    sets: tuple[str, ...] = ("cifar10", "cifar100")
    precision: str = "bf16"

    @property
    def key(self) -> str:
        """In the names of studies."""
        return self.name if self.stem == "standard" else f"{self.name}, small stem"


@dataclass(frozen=True)
class Scale:
    """How large the experiment is.

    Attributes:
        networks: of tables 1 and 2, with cross-entropy and the paper's margin.
        images: for training and for testing, of the studies with ResNet-8.
        epochs: of those.
        seeds: of everything but figure 1.
        margins: of the sweep (figure 2) at scale 1, exact.
        swept: networks with which the sweep is done.
        gradient_margins: of the gradient study at scale "auto".
        exemplars: classes, training and test images of each, epochs: of the scale study's largest set.
        plane: images and epochs of figure 1.
        stand_in: whether the digits take the place of CIFAR.
    """

    networks: tuple[Network, ...]
    images: tuple[int, int]
    epochs: int
    seeds: int
    margins: tuple[float, ...]
    swept: tuple[Network, ...]
    gradient_margins: tuple[float, ...]
    exemplars: tuple[int, int, int, int]
    plane: tuple[int, int]
    stand_in: bool = False


MARGINS = (0.0, 0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 2.5)
SWEPT = tuple(Network(name, sets=("cifar10",)) for name in ("efficientnet_b0", "mobilenetv2_100"))
FEW = {"images": 1500, "epochs": 4, "sets": ("cifar10",)}
SIZES = {
    "smoke": Scale((), (120, 60), 1, 2, (0.0, 0.1, 2.0), (), (0.1, 0.5), (20, 6, 3, 1), (90, 2), stand_in=True),
    "small": Scale(
        networks=tuple(
            Network(name, precision="bf16" if name == "resnet18" else "32", **FEW)  # type: ignore[arg-type]
            for name in NETWORKS
        ),
        images=(2500, 1000),
        epochs=8,
        seeds=3,
        margins=MARGINS,
        swept=(),
        gradient_margins=(0.1, 0.3, 0.5, 1.0),
        exemplars=(1000, 24, 5, 5),
        plane=(1500, 15),
    ),
    "full": Scale(
        networks=(*map(Network, NETWORKS), *(Network(name, "small") for name in NETWORKS)),
        images=(50_000, 10_000),
        epochs=30,
        seeds=3,
        margins=MARGINS,
        swept=SWEPT,
        gradient_margins=(0.1, 0.3, 0.5, 1.0),
        exemplars=(1000, 24, 5, 8),
        plane=(15_000, 30),
    ),
}


def studies(place: Place) -> Iterator[Study]:
    """Tables 1 and 2 first, then the studies with ResNet-8: a study for each data set and network."""
    scale = SIZES[place.size]

    def pictures(name: str) -> Pictures:
        return digits() if scale.stand_in else cifar(place.data, name)

    for name in SETS:
        for network in scale.networks:
            if name in network.sets:
                margins = (
                    scale.margins if network.key in {each.key for each in scale.swept} and name == "cifar10" else ()
                )
                data = pictures(name).subset(network.images, scale.images[1])
                chosen = _distinct(CROSS_ENTROPY, PAPER, *map(arcface, margins))
                yield Study(_setup(data, network), chosen, scale.seeds, name=f"{name}/{network.key}")
    eight = Network("resnet8", images=scale.images[0], epochs=scale.epochs)
    table = (CROSS_ENTROPY, PAPER, DEFAULT, BOTH)
    forms = [arcface(margin, "auto", form) for margin in scale.gradient_margins for form in FORMS]
    more = {"cifar10": (*map(arcface, scale.margins), *forms), "cifar100": ()}
    for name in SETS:
        setup = _setup(pictures(name).subset(*scale.images), eight)
        yield Study(setup, _distinct(*table, *more[name]), scale.seeds, name=f"{name}/resnet8")
    classes, train, test, epochs = scale.exemplars
    exemplars = pictures("cifar100").exemplars(classes, train, test)
    many = _setup(exemplars, dataclasses.replace(eight, epochs=epochs))
    yield Study(many, (CROSS_ENTROPY, PAPER, DEFAULT), scale.seeds, name="exemplars/resnet8")
    images, epochs = scale.plane
    three = pictures("cifar10").subset(images, 3 * DRAWN, SHOWN_CLASSES)
    flat = _setup(three, Network("resnet8_plane", epochs=epochs))
    yield Study(flat, PLANE, 1, name="plane", measure=features_of_the_plane)


def _distinct(*recipes: Recipe) -> tuple[Recipe, ...]:
    return tuple({recipe.name: recipe for recipe in recipes}.values())


def _setup(pictures: Pictures, network: Network) -> ExperimentConfig:
    data = pictures.image_set()
    training = choose_training(
        "scratch", epochs=network.epochs, batch_size=128, warmup=0.3, augment="crop_flip", precision=network.precision
    )
    return ExperimentConfig(
        data, BackboneConfig(network.name, network.stem), False, Validation(), keep_class(training, data)
    )


def features_of_the_plane(run: Run, classifier: Classifier, augmentation: Augmentation) -> dict[str, Any]:
    """Features of the test images ``[N, 2]``, their labels, and the head's class vectors and bias."""
    data = run.setup.data
    indices = make_fold(data, run.held_out, run.setup.validation, run.seed).tests["test"]
    images, labels = Subset(data.images, data.labels, indices).take(np.arange(len(indices)))
    classifier.eval()
    with torch.inference_mode():
        features = classifier.features(images.to(next(classifier.parameters()).device)).float().cpu()
    head = classifier.objective.head
    bias = getattr(head, "bias", None)
    return {
        "plane": {
            "points": [[round(value, 3) for value in row] for row in features.tolist()],
            "labels": labels.tolist(),
            "weights": head.weight.detach().float().cpu().tolist(),
            "bias": None if bias is None else bias.detach().float().cpu().tolist(),
        }
    }
