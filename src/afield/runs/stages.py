"""Training in stages: a classifier, an augmentor learned against it, and the classifier fine-tuned on its images.

A run whose augmentation is learned has three stages and divides its epochs between the first and the third. Where
the setup has settings of its own for the third stage (`ExperimentConfig.tuning`), every run has a first and a third
stage, whatever its augmentation, and runs that differ in their augmentation alone share the classifier of the first.
"""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from afield.augment import Augmentation, NetworkAugmentation, build_chain
from afield.augment.learned import AUGMENTORS
from afield.classifier import Classifier, LogitsOnly
from afield.errors import InputError
from afield.records import Learned, exclusive, run_hash
from afield.runs.augmentation import augmentation_names, augmentor_settings, fixed_part, learned_part
from afield.runs.build import build_algorithm
from afield.runs.callback import Callback
from afield.runs.run import Run
from afield.training import Splits, TrainConfig, fit

FIRST, SECOND = "stage1.safetensors", "stage2.safetensors"
"""Checkpoints of the stages; they stay until the run is done, so that a resumed run passes over what is finished."""


@dataclass(frozen=True)
class Stages:
    """What the first two stages leave for the last.

    Attributes:
        augmentation: of the last stage.
        training: of the last stage.
        augmentor: the part of the augmentation that was learned, if one was.
        record: what the run's record says of learning it.
    """

    augmentation: Augmentation
    training: TrainConfig
    augmentor: NetworkAugmentation | None = None
    record: Learned | None = None


def run_stages(
    run: Run, classifier: Classifier, parts: Splits, folder: Path, fabric: Fabric, callback: Callback
) -> Stages:
    """Go through the stages before the last, if the run has any.

    Args:
        run: whose stages these are.
        classifier: as it is initialized; left as stage one ends, for the last stage to fine-tune.
        parts: the augmentor learns on the training images; the others are measured.
        folder: of this run alone; a first stage that several runs share lies beside it.
        fabric: device and precision.
        callback: told of epochs.

    Raises:
        InputError: more than one process.
        HeldError: another process is training the first stage that this run shares with others.
    """
    names = augmentation_names(run.setup, run.recipe)
    kind, tuning = learned_part(names), run.setup.tuning
    if kind is None and tuning is None:
        return Stages(build_chain(names), run.training)
    if fabric.world_size > 1:
        raise InputError(f"augmentation {names!r} is learned in one process: --devices must be 1")
    training = run.training
    if tuning is None:
        first, first_names = dataclasses.replace(training, epochs=training.epochs // 2), fixed_part(names)
        last, place = dataclasses.replace(training, epochs=training.epochs - first.epochs), folder
    else:
        first, first_names, last = training, training.augment, run.recipe.train_config(tuning)
        place = folder.parent / f"stage1-{_shared_key(run)}"
    with nullcontext() if place == folder else exclusive(place):
        fit(
            build_algorithm(run.recipe, classifier, parts.train.domain_sizes, run.seed),
            Splits(parts.train, parts.val, {}, parts.adapt),
            first,
            build_chain(first_names),
            seed=run.seed,
            label=f"{run.label}, stage 1",
            checkpoint_file=place / FIRST,
            fabric=fabric,
            on_epoch=callback.epoch,
        )
    if kind is None:
        return Stages(build_chain(names), last)
    settings = augmentor_settings(run.recipe, kind)
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
    return Stages(build_chain(names, {kind: learned.augmentor}), last, learned.augmentor, record)


def _shared_key(run: Run) -> str:
    """The hash of all that decides the first stage: the run's configuration without what comes after that stage."""
    config = run.config
    later = ("name", "augment", "augment_options")
    recipe = {name: value for name, value in config["recipe"].items() if name not in later}
    return run_hash({**config, "tuning": None, "recipe": recipe})
