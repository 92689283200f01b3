"""Stages one and two of a run whose augmentation is learned: a classifier, then an augmentor against it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_fabric import Fabric

from afield.augment import NetworkAugmentation, build_chain
from afield.augment.learned import AUGMENTORS
from afield.classifier import Classifier, LogitsOnly
from afield.errors import InputError
from afield.records import Learned
from afield.runs.augmentation import augmentation_names, augmentor_settings, fixed_part
from afield.runs.build import build_algorithm
from afield.runs.callback import Callback
from afield.training import Splits, TrainConfig, fit

if TYPE_CHECKING:
    from afield.runs.run import Run

FIRST, SECOND = "stage1.safetensors", "stage2.safetensors"
"""Checkpoints of the stages; they stay until the run is done, so that a resumed run passes over what is finished."""


@dataclass(frozen=True)
class Stages:
    """What the first two stages leave for the third.

    Attributes:
        augmentor: learned.
        training: of the third stage: the epochs that are left.
        record: what the run's record says of them.
    """

    augmentor: NetworkAugmentation
    training: TrainConfig
    record: Learned


def run_stages(
    run: Run, kind: str, classifier: Classifier, parts: Splits, folder: Path, fabric: Fabric, callback: Callback
) -> Stages:
    """Train the classifier for half of the epochs without the augmentor, then the augmentor against it.

    Args:
        run: whose stages these are.
        kind: what is learned, a name in ``AUGMENTORS``.
        classifier: as it is initialized; left as stage one ends, for stage three to fine-tune.
        parts: the augmentor learns on the training images; the others are measured.
        folder: of this run alone.
        fabric: device and precision.
        callback: told of epochs.

    Raises:
        InputError: more than one process.
    """
    if fabric.world_size > 1:
        raise InputError(f"augmentation {kind!r} is learned in one process: --devices must be 1")
    training, settings = run.training, augmentor_settings(run.recipe, kind)
    first = dataclasses.replace(training, epochs=training.epochs // 2)
    fit(
        build_algorithm(run.recipe, classifier, parts.train.domain_sizes, run.seed),
        parts,
        first,
        build_chain(fixed_part(augmentation_names(run.setup, run.recipe))),
        seed=run.seed,
        label=f"{run.label}, stage 1",
        checkpoint_file=folder / FIRST,
        fabric=fabric,
        on_epoch=callback.epoch,
    )
    learned = AUGMENTORS[kind].learn(
        LogitsOnly(classifier),
        parts.train,
        parts.watched,
        settings,
        seed=run.seed,
        checkpoint_file=folder / SECOND,
        fabric=fabric,
        on_epoch=callback.learning,
    )
    record = Learned(
        kind=kind,
        settings=dataclasses.asdict(settings),
        first_epochs=first.epochs,
        epochs=tuple(learned.epochs),
        collapses=learned.collapses,
        search_s=round(learned.seconds, 3),
    )
    return Stages(learned.augmentor, dataclasses.replace(training, epochs=training.epochs - first.epochs), record)
