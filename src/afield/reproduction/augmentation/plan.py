"""The studies of paper B: learned augmentation."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from afield.augment import Augmentation
from afield.augment.learned import AffineSettings
from afield.classifier import Classifier
from afield.comparison.analysis import data_url
from afield.models import BackboneConfig
from afield.pixels import to_array
from afield.records import seed_for
from afield.reproduction.augmentation.arms import BASELINE, CORRECTED_SIGN, DEFAULT, METHOD, METHOD_ALONE, arm
from afield.reproduction.place import RESNET8, Place
from afield.reproduction.study import Study, test_images
from afield.runs.run import Run
from afield.training import TrainConfig

STUDY = "CIFAR-10"
SIGNS = (METHOD, METHOD_ALONE, CORRECTED_SIGN)
ARMS = (BASELINE, *SIGNS, "corrected, non-saturating D", "bounded, no D", DEFAULT, "random_affine")
PICTURED = (METHOD, CORRECTED_SIGN, DEFAULT)
"""Arms in figure 3, with the first seed."""
PAIRS = 8


@dataclass(frozen=True)
class Scale:
    """The scale of the experiment.

    Attributes:
        images: numbers of training and test images.
        epochs: numbers of epochs of the three stages.
        seeds: number of seeds.
        backbone: backbone of the classifier.
        faithful: whether to use the optimizers and learning rates of the paper. SGD with a one-cycle schedule is
            faster.
        arms: arms to compare.
        epoch_steps: smallest number of steps of an epoch of the second stage.
    """

    images: tuple[int, int]
    epochs: tuple[int, int, int]
    seeds: int
    backbone: BackboneConfig
    faithful: bool = False
    arms: tuple[str, ...] = ARMS
    epoch_steps: int = AffineSettings.epoch_steps


SIZES = {
    "smoke": Scale((120, 60), (1, 1, 1), 2, RESNET8, arms=(BASELINE, METHOD, DEFAULT), epoch_steps=1),
    "small": Scale((3000, 2000), (10, 10, 12), 3, RESNET8),
    "full": Scale((50_000, 10_000), (100, 50, 100), 3, BackboneConfig("resnet18", "small"), faithful=True),
}


def studies(place: Place) -> Iterator[Study]:
    """Create the study: all arms with all seeds. Arms with equal seeds share the classifier of the first stage.

    The accuracy is that of the last epoch.
    """
    scale = SIZES[place.size]
    first, second, third = scale.epochs
    data = place.cifar("cifar10").subset(*scale.images).image_set()
    setup = place.from_scratch(data, scale.backbone, epochs=first, batch_size=128, warmup=0.2, augment="none")
    if scale.faithful:
        training = TrainConfig(
            epochs=first,
            optimizer="adamw",
            learning_rate=0.1,
            weight_decay=0.0,
            schedule="constant",
            precision=setup.training.precision,
        )
        setup = dataclasses.replace(setup, training=training)
    rate = setup.training.learning_rate * (0.1 if scale.faithful else 0.5)
    setup = dataclasses.replace(setup, tuning=dataclasses.replace(setup.training, epochs=third, learning_rate=rate))
    own_rate, steps = 1e-4 if scale.faithful else None, scale.epoch_steps
    arms = tuple(arm(name, second, own_rate, epoch_steps=steps) for name in scale.arms)
    yield Study(setup, arms, scale.seeds, "last", name=STUDY, measure=pairs)


def pairs(run: Run, classifier: Classifier, augmentation: Augmentation) -> dict[str, Any]:
    """Test images above their augmented versions, a PNG as a data URL, for the arms in figure 3."""
    if run.recipe.name not in PICTURED or run.seed:
        return {}
    tested = test_images(run)
    chosen = np.random.default_rng(seed_for("pairs")).permutation(len(tested))[:PAIRS]
    images = tested.take(chosen)[0].to(next(classifier.parameters()).device)
    with torch.no_grad():
        params = augmentation.sample(images, torch.Generator().manual_seed(seed_for("pairs drawn")))
        rows = [to_array(batch.cpu()) for batch in (images, augmentation.apply(images, params))]
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    return {"pairs": data_url(Image.fromarray(sheet), "png")}
