"""Fine-tunes the whole network of a model on labeled images of a new place, with training images if available."""

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from afield.algorithms.erm import ERM
from afield.augment import AUGMENTATIONS, build_chain
from afield.data import ImageSet
from afield.deploy.label import source_rows
from afield.deploy.model import Model
from afield.errors import InputError
from afield.labeling.label_file import Row, with_class
from afield.launch.fabric import make_fabric
from afield.training import EpochReport, Splits, Subset, TrainConfig, fit

STEPS = 60
BATCH = 64
RATE = 0.1
"""Peak learning rate of fine-tuning, as a fraction of that of the training."""


def check_trained(model: Model) -> None:
    """Raise `InputError` if the network of a model was frozen in training, so that there are no settings for it."""
    if model.config["backbone"]["freeze"]:
        raise InputError(
            "the network of this model was frozen, and only its head was trained; --tune network needs a model that "
            "was trained without --freeze"
        )


def fine_tuned(
    model: Model,
    folder: Path,
    rows: Sequence[Row],
    source: ImageSet | None = None,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
) -> Model:
    """Return a copy of a model whose whole network is fine-tuned on the labeled chosen images.

    The head should be refitted to these images first (Kumar et al., Fine-Tuning can Distort Pretrained Features and
    Underperform Out-of-Distribution, ICLR 2022). The training of the model continues for about `STEPS` steps with its
    optimizer and augmentation, and with `RATE` times its learning rate, decaying to 0. With training images, half of
    each batch of `BATCH` images comes from them; the weight of both halves is equal. Nothing is selected, and the audit
    sample is not used.

    Args:
        model: model whose network was trained.
        folder: folder of the new place.
        rows: rows of the label file.
        source: labeled training images of the model.
        on_epoch: called after each epoch.

    Raises:
        InputError: if the source has other classes or sizes than the model, or the loss is not finite.
    """
    chosen = with_class(rows, "chosen")
    images = np.stack([model.pixels(folder / row.path) for row in chosen])
    labels = np.array([model.class_names.index(row.label) for row in chosen])
    domains = np.ones(len(chosen), dtype=np.int64)
    if source is not None:
        kept, known = source_rows(model, source)
        images, labels = np.concatenate([source.images[kept], images]), np.concatenate([known, labels])
        domains = np.concatenate([np.zeros(len(kept), dtype=np.int64), domains])
    target = np.flatnonzero(domains)
    train, val = (Subset(images, labels, each, domains) for each in (np.arange(len(labels)), target))
    classifier = copy.deepcopy(model.classifier)
    with torch.random.fork_rng(devices=[]):
        fit(
            ERM(classifier, train.domain_sizes),
            Splits(train, val, {}),
            settings(model, len(train)),
            build_chain(augmentation(model)),
            seed=model.config["seed"],
            label="fine-tuning",
            checkpoint_file=None,
            fabric=make_fabric("cpu", "32"),
            on_epoch=on_epoch,
        )
    return dataclasses.replace(model, classifier=classifier.eval())


def settings(model: Model, images: int) -> TrainConfig:
    """The training settings of a model, changed for fine-tuning on this number of images."""
    trained, batch = TrainConfig(**model.config["training"]), min(BATCH, images)
    return dataclasses.replace(
        trained,
        epochs=math.ceil(STEPS / (images // batch)),
        batch_size=batch,
        accumulate=1,
        learning_rate=RATE * trained.learning_rate,
        schedule="linear",
        warmup=0.0,
        augment="none",
        sampling="balanced",
        precision="32",
    )


def augmentation(model: Model) -> str:
    """The augmentation of the training, without parts from files, which the model folder does not contain."""
    names = model.config["training"]["augment"].split("+")
    return "+".join(name for name in names if name in AUGMENTATIONS) or "none"
